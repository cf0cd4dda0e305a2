//! What a suite asks of the models that it trains: evaluations, attacks, censuses and audits.

use kd_adv::at_radii;
use kd_core::record::ModelId;
use kd_core::{Error, Result, at_least_one};
use kd_data::DataSpec;

use super::file::{AttackFile, AuditFile, CensusFile, EvaluationFile, Preset, Suite};
use super::names::check_name;
use super::spec::{
    AttackSection, AuditSection, CensusSpec, EvaluationSection, ImagesSpec, Questions, StudentSpec,
    TrainingSpec,
};

/// Applies the preset and checks every setting and name. Models that the preset does not train are
/// left out.
pub(super) fn resolve(
    suite: &Suite,
    (preset, data): (&Preset, &DataSpec),
    trainings: &[TrainingSpec],
) -> Result<Questions> {
    let names: Vec<&str> = suite.attack.iter().map(|attack| attack.name.as_str()).collect();
    let attacks = chosen("attacks", &names, preset.attacks.as_deref())?;
    let names: Vec<&str> = suite.audit.iter().map(|audit| audit.name.as_str()).collect();
    let audits = chosen("audits", &names, preset.audits.as_deref())?;
    let names: Vec<&str> = suite.evaluation.iter().map(|file| file.name.as_str()).collect();
    chosen("evaluation", &names, None)?;
    let context = Context { suite, preset, data, trainings };
    let evaluation = suite.evaluation.iter().map(|file| context.evaluation(file));
    let mut evaluation = evaluation.collect::<Result<Vec<_>>>()?;
    evaluation.retain(|section| !section.models.is_empty());
    let census = suite.census.as_ref().map(|file| context.census(file)).transpose()?;
    let attack = attacks.into_iter().map(|i| context.attack(&suite.attack[i]));
    let mut attack = attack.collect::<Result<Vec<_>>>()?;
    attack.retain(|section| !section.models.is_empty());
    check_files(&attack)?;
    let audit = audits.into_iter().map(|i| context.audit(&suite.audit[i]));
    let audit = audit.collect::<Result<Vec<_>>>()?;
    let mut audited: Vec<&ModelId> = Vec::new();
    for source in audit.iter().flat_map(|section| &section.models) {
        if audited.contains(&source) {
            return Err(Error::config("audit.models", format!("`{source}` is audited twice")));
        }
        audited.push(source);
    }
    Ok(Questions { evaluation, census, attack, audit })
}

/// Files of outcomes and pictures are named by attack and model, joined by `-`: two of them must not
/// have one name.
fn check_files(attacks: &[AttackSection]) -> Result<()> {
    let mut seen: Vec<String> = Vec::new();
    for attack in attacks {
        for ModelId { training, model } in &attack.models {
            let file = format!("{}-{training}-{model}", attack.name);
            if seen.contains(&file) {
                let reason = format!("two attacks would write files called `{file}`");
                return Err(Error::config("attack.name", reason));
            }
            seen.push(file);
        }
    }
    Ok(())
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
    data: &'a DataSpec,
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

    fn evaluation(&self, file: &EvaluationFile) -> Result<EvaluationSection> {
        Ok(EvaluationSection {
            name: file.name.clone(),
            models: self.models("evaluation.models", &file.models)?,
            data: file.data.as_ref().unwrap_or(self.data).clone(),
            split: file.split,
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
        at_least_one("n_images", n_images)?;
        let Some(name) = correct_by else { return Ok(ImagesSpec { n_images, correct_by: None }) };
        let source = one_source("correct_by", name, self.trainings)?;
        Ok(ImagesSpec { n_images, correct_by: Some(source) })
    }

    fn models(&self, field: &str, names: &[String]) -> Result<Vec<ModelId>> {
        if names.is_empty() {
            return Err(Error::config(field, "name at least one model"));
        }
        self.sources(field, names)
    }

    fn sources(&self, field: &str, names: &[String]) -> Result<Vec<ModelId>> {
        let mut found: Vec<ModelId> = Vec::new();
        for name in names.iter().filter(|name| !self.is_left_out(name)) {
            for source in sources(field, name, self.trainings)? {
                if found.contains(&source) {
                    return Err(Error::config(field, format!("`{source}` is named twice")));
                }
                found.push(source);
            }
        }
        Ok(found)
    }

    /// Whether the preset leaves out the training of a model.
    fn is_left_out(&self, name: &str) -> bool {
        let training = name.split_once('/').map_or(name, |(training, _)| training);
        self.suite.training.iter().any(|file| file.name == training)
            && !self.trainings.iter().any(|spec| spec.name == training)
    }
}

/// The one model that `name` stands for.
pub(super) fn one_source(field: &str, name: &str, trainings: &[TrainingSpec]) -> Result<ModelId> {
    match &sources(field, name, trainings)?[..] {
        [source] => Ok(source.clone()),
        _ => Err(Error::config(field, format!("`{name}` has several models"))),
    }
}

/// The models that `name` stands for: `training/model`, or all of a training.
fn sources(field: &str, name: &str, trainings: &[TrainingSpec]) -> Result<Vec<ModelId>> {
    let pairs = trainings.iter().flat_map(|spec| spec.student.iter().map(move |s| (spec, s)));
    let id = |(spec, s): (&TrainingSpec, &StudentSpec)| ModelId::new(&spec.name, &s.name);
    let all: Vec<ModelId> = pairs.map(id).collect();
    let named = |source: &&ModelId| source.training == name || source.to_string() == name;
    let found: Vec<ModelId> = all.iter().filter(named).cloned().collect();
    if found.is_empty() {
        let known: Vec<String> = all.iter().map(ModelId::to_string).collect();
        let reason = format!("`{name}` is none of the models {}", known.join(", "));
        return Err(Error::config(field, reason));
    }
    Ok(found)
}
