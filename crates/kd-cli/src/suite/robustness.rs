//! What a suite says of robustness: attacks, censuses and audits of the models that it trains.

use std::fmt;

use kd_adv::{AttackSpec, Audit, at_radii};
use kd_core::record::ModelId;
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::file::{Preset, Suite};
use super::resolve::{TrainingSpec, check_name};

/// A model of the run: of each seed, the one that this training ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Source {
    /// The training.
    pub(crate) training: String,
    /// The model in it.
    pub(crate) model: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.training, self.model)
    }
}

impl From<&Source> for ModelId {
    fn from(source: &Source) -> Self {
        Self::new(&source.training, &source.model)
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Source {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        let (training, model) = text.split_once('/').ok_or("a model is `training/model`")?;
        Ok(Self { training: training.into(), model: model.into() })
    }
}

/// One attack on several models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttackFile {
    /// Name, such as `pgd`.
    pub(crate) name: String,
    /// The attack and its settings.
    pub(crate) attack: AttackSpec,
    /// The models that are attacked: `training/model`, or `training` for all of its models.
    pub(crate) models: Vec<String>,
    /// The models that are shown the same images.
    #[serde(default)]
    pub(crate) transfer_to: Vec<String>,
    /// More radii, for a curve.
    #[serde(default)]
    pub(crate) curve: Vec<f32>,
    /// Number of test images: the first ones.
    pub(crate) n_images: usize,
    /// A model; the images are the first ones that it classifies correctly.
    pub(crate) correct_by: Option<String>,
    /// Number of images that are shown.
    #[serde(default)]
    pub(crate) pictures: usize,
}

/// How large logits and gradients of several models are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CensusFile {
    /// As [`AttackFile::models`].
    pub(crate) models: Vec<String>,
    /// Number of test images: the first ones.
    pub(crate) n_images: usize,
}

/// An audit of several models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditFile {
    /// Name, by which presets choose.
    pub(crate) name: String,
    /// As [`AttackFile::models`].
    pub(crate) models: Vec<String>,
    /// The models whose adversarial images are tried as well.
    #[serde(default)]
    pub(crate) transfer_from: Vec<String>,
    /// Number of test images: the first ones.
    pub(crate) n_images: usize,
    /// A model; the images are the first ones that it classifies correctly.
    pub(crate) correct_by: Option<String>,
    /// How thorough it is.
    #[serde(default)]
    pub(crate) audit: Audit,
}

/// Everything that is asked of a run's models, in full.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Robustness {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) census: Option<CensusSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attack: Vec<AttackSection>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) audit: Vec<AuditSection>,
}

/// The first test images, or the first ones that a model classifies correctly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImagesSpec {
    pub(crate) n_images: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correct_by: Option<Source>,
}

/// One attack, in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AttackSection {
    pub(crate) name: String,
    pub(crate) models: Vec<Source>,
    pub(crate) transfer_to: Vec<Source>,
    pub(crate) pictures: usize,
    pub(crate) images: ImagesSpec,
    pub(crate) attack: AttackSpec,
    /// The same at the other radii.
    pub(crate) curve: Vec<AttackSpec>,
}

/// A census, in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CensusSpec {
    pub(crate) models: Vec<Source>,
    pub(crate) images: ImagesSpec,
}

/// One audit, in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuditSection {
    pub(crate) name: String,
    pub(crate) models: Vec<Source>,
    pub(crate) transfer_from: Vec<Source>,
    pub(crate) images: ImagesSpec,
    pub(crate) audit: Audit,
}

/// Applies the preset and checks every setting and name. Models that the preset does not train are
/// left out.
pub(super) fn resolve(
    suite: &Suite,
    preset: &Preset,
    trainings: &[TrainingSpec],
) -> Result<Robustness> {
    let names: Vec<&str> = suite.attack.iter().map(|attack| attack.name.as_str()).collect();
    let attacks = chosen("attacks", &names, preset.attacks.as_deref())?;
    let names: Vec<&str> = suite.audit.iter().map(|audit| audit.name.as_str()).collect();
    let audits = chosen("audits", &names, preset.audits.as_deref())?;
    let context = Context { suite, preset, trainings };
    let census = suite.census.as_ref().map(|file| context.census(file)).transpose()?;
    let attack = attacks.into_iter().map(|i| context.attack(&suite.attack[i]));
    let mut attack = attack.collect::<Result<Vec<_>>>()?;
    attack.retain(|section| !section.models.is_empty());
    let audit = audits.into_iter().map(|i| context.audit(&suite.audit[i]));
    let audit = audit.collect::<Result<Vec<_>>>()?;
    let mut audited: Vec<&Source> = Vec::new();
    for source in audit.iter().flat_map(|section| &section.models) {
        if audited.contains(&source) {
            return Err(Error::config("audit.models", format!("`{source}` is audited twice")));
        }
        audited.push(source);
    }
    Ok(Robustness { census, attack, audit })
}

/// Positions of the sections that the preset runs, in the suite's order.
fn chosen(field: &str, names: &[&str], wanted: Option<&[String]>) -> Result<Vec<usize>> {
    for (i, name) in names.iter().enumerate() {
        check_name(name)?;
        if names[..i].contains(name) {
            return Err(Error::config(field, format!("two of them are called `{name}`")));
        }
    }
    let Some(wanted) = wanted else { return Ok((0..names.len()).collect()) };
    if let Some(name) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        let reason = format!("`{name}` is none of {}", names.join(", "));
        return Err(Error::config(format!("preset.{field}"), reason));
    }
    Ok((0..names.len()).filter(|&i| wanted.iter().any(|name| name == names[i])).collect())
}

/// What every section is checked against.
struct Context<'a> {
    suite: &'a Suite,
    preset: &'a Preset,
    trainings: &'a [TrainingSpec],
}

impl Context<'_> {
    fn attack(&self, file: &AttackFile) -> Result<AttackSection> {
        file.attack.as_dyn().check()?;
        if file.name == "worst-case" {
            let reason = "`worst-case` is the name of all attacks together";
            return Err(Error::config("attack.name", reason));
        }
        // The attack's own radius is a point of the curve too.
        let own = file.attack.as_dyn().eps();
        let radii: Vec<f32> = file.curve.iter().copied().filter(|eps| Some(*eps) != own).collect();
        Ok(AttackSection {
            name: file.name.clone(),
            models: self.models("attack.models", &file.models)?,
            transfer_to: self.sources("attack.transfer_to", &file.transfer_to)?,
            pictures: file.pictures,
            images: self.images(file.n_images, file.correct_by.as_deref())?,
            attack: file.attack.clone(),
            curve: at_radii(&file.attack, &radii)?,
        })
    }

    fn census(&self, file: &CensusFile) -> Result<CensusSpec> {
        let models = self.models("census.models", &file.models)?;
        Ok(CensusSpec { models, images: self.images(file.n_images, None)? })
    }

    fn audit(&self, file: &AuditFile) -> Result<AuditSection> {
        file.audit.check()?;
        Ok(AuditSection {
            name: file.name.clone(),
            models: self.models("audit.models", &file.models)?,
            transfer_from: self.sources("audit.transfer_from", &file.transfer_from)?,
            images: self.images(file.n_images, file.correct_by.as_deref())?,
            audit: file.audit.clone(),
        })
    }

    fn images(&self, n_images: usize, correct_by: Option<&str>) -> Result<ImagesSpec> {
        let n_images = self.preset.n_images.map_or(n_images, |most| n_images.min(most));
        if n_images == 0 {
            return Err(Error::config("n_images", "must be at least 1"));
        }
        let Some(name) = correct_by else { return Ok(ImagesSpec { n_images, correct_by: None }) };
        let source = one_source("correct_by", name, self.trainings)?;
        Ok(ImagesSpec { n_images, correct_by: Some(source) })
    }

    fn models(&self, field: &str, names: &[String]) -> Result<Vec<Source>> {
        if names.is_empty() {
            return Err(Error::config(field, "name at least one model"));
        }
        self.sources(field, names)
    }

    fn sources(&self, field: &str, names: &[String]) -> Result<Vec<Source>> {
        let mut found: Vec<Source> = Vec::new();
        for name in names {
            for source in self.source(field, name)? {
                if found.contains(&source) {
                    return Err(Error::config(field, format!("`{source}` is named twice")));
                }
                found.push(source);
            }
        }
        Ok(found)
    }

    /// None for a training that the preset leaves out.
    fn source(&self, field: &str, name: &str) -> Result<Vec<Source>> {
        let training = name.split_once('/').map_or(name, |(training, _)| training);
        let is_left_out = self.suite.training.iter().any(|file| file.name == training)
            && !self.trainings.iter().any(|spec| spec.name == training);
        if is_left_out { Ok(Vec::new()) } else { sources(field, name, self.trainings) }
    }
}

/// The one model that `name` stands for.
pub(super) fn one_source(field: &str, name: &str, trainings: &[TrainingSpec]) -> Result<Source> {
    match &sources(field, name, trainings)?[..] {
        [source] => Ok(source.clone()),
        _ => Err(Error::config(field, format!("`{name}` has several models"))),
    }
}

/// The models that `name` stands for: `training/model`, or all of a training.
fn sources(field: &str, name: &str, trainings: &[TrainingSpec]) -> Result<Vec<Source>> {
    let all = trainings.iter().flat_map(|training| {
        training
            .student
            .iter()
            .map(|student| Source { training: training.name.clone(), model: student.name.clone() })
    });
    let all: Vec<Source> = all.collect();
    let named = |source: &&Source| source.training == name || source.to_string() == name;
    let found: Vec<Source> = all.iter().filter(named).cloned().collect();
    if found.is_empty() {
        let known: Vec<String> = all.iter().map(Source::to_string).collect();
        let reason = format!("`{name}` is none of the models {}", known.join(", "));
        return Err(Error::config(field, reason));
    }
    Ok(found)
}
