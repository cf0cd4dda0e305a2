//! What a suite file says. Unknown keys are refused with the list of valid ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kd_adv::{AttackSpec, Audit};
use kd_core::ops::Normalize;
use kd_core::{Error, Result, fsx};
use kd_data::{Augment, DataSpec, Split};
use kd_models::ModelSpec;
use kd_models::weights::Naming;
use kd_train::{LossSpec, OptimizerSpec, Plan, Schedule, SoftTargets};
use serde::{Deserialize, Serialize};

use super::class::Class;
use super::holdout::Holdout;
use super::names;
use super::readings::Readings;

/// A suite: data, defaults, and trainings in the order in which they run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Name, such as `mnist`.
    pub suite: String,
    /// The data set.
    pub data: DataSpec,
    /// Its synthetic stand-in, for `--synthetic`.
    pub synthetic: Option<DataSpec>,
    /// How all networks that are trained normalize their images, in place of the data set's way; and
    /// a teacher whose weights do not say it.
    pub normalize: Option<Normalize>,
    /// Forms the sums of all convolutions product by product: slower where layers have 3x3 windows, and
    /// a little more exact.
    #[serde(default)]
    pub exact_conv: bool,
    /// Training images set aside for choosing between recipes; of a data set without parts, the
    /// ones to test on.
    #[serde(default)]
    pub holdout: Holdout,
    /// How trainings run that do not say otherwise.
    pub plan: Plan,
    /// How their images are changed.
    #[serde(default)]
    pub augment: Augment,
    /// Smaller versions of the suite, by name.
    #[serde(default)]
    pub preset: BTreeMap<String, Preset>,
    /// The trainings.
    pub training: Vec<TrainingFile>,
    /// What a paper leaves open about some of them.
    pub readings: Option<Readings>,
    /// Trained models on other images than those of the test set.
    #[serde(default)]
    pub evaluation: Vec<EvaluationFile>,
    /// How large logits and gradients of trained models are.
    pub census: Option<CensusFile>,
    /// Attacks on trained models.
    #[serde(default)]
    pub attack: Vec<AttackFile>,
    /// Audits of trained models.
    #[serde(default)]
    pub audit: Vec<AuditFile>,
}

/// What a preset changes; what it leaves out stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What it is, for the reader of the report.
    pub about: Option<String>,
    /// Runs on the synthetic stand-in, whatever data there are: for presets that are too small for
    /// the data set itself.
    #[serde(default)]
    pub synthetic: bool,
    /// Epochs of every training.
    pub n_epochs: Option<u64>,
    /// Epochs in which candidates are compared, of every training that chooses.
    pub choose_epochs: Option<u64>,
    /// Images a step of every training.
    pub batch_size: Option<usize>,
    /// Learning rate before the schedule of every training.
    pub learning_rate: Option<f64>,
    /// The optimizer of every training.
    pub optimizer: Option<OptimizerSpec>,
    /// Learning rates of every training.
    pub schedule: Option<Schedule>,
    /// Number of training images (a seeded choice).
    pub n_train: Option<usize>,
    /// Number of test images (a seeded choice).
    pub n_test: Option<usize>,
    /// Names of the trainings that run.
    pub trainings: Option<Vec<String>>,
    /// In place of what the suite leaves open.
    pub readings: Option<Readings>,
    /// In place of the plans of the trainings named here.
    #[serde(default)]
    pub plan: BTreeMap<String, Plan>,
    /// Names of the attacks that run.
    pub attacks: Option<Vec<String>>,
    /// Names of the audits that run.
    pub audits: Option<Vec<String>>,
    /// Largest number of images of the census and of an attack or audit.
    pub n_images: Option<usize>,
}

/// A teacher alone, or a cohort of students.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingFile {
    /// Name, such as `student30`.
    pub name: String,
    /// The network of every student: by its short name, or a table.
    #[serde(deserialize_with = "names::network")]
    pub model: ModelSpec,
    /// Name of an earlier training of one model: the teacher.
    pub teacher: Option<String>,
    /// A checkpoint of a teacher, in place of a training.
    pub teacher_weights: Option<PathBuf>,
    /// The network in it, where its weights do not say it.
    #[serde(default, deserialize_with = "names::some_network")]
    pub teacher_model: Option<ModelSpec>,
    /// Where in it the weights are, where it is from elsewhere.
    #[serde(default, skip_serializing_if = "Naming::is_default")]
    pub teacher_naming: Naming,
    /// Logits of a teacher that were computed elsewhere, in place of a training.
    pub teacher_logits: Option<PathBuf>,
    /// Several teachers, in place of one.
    #[serde(default)]
    pub teachers: Vec<TeacherFile>,
    /// How they become one.
    pub average: Option<AverageOf>,
    /// Class that the training images lack.
    pub omit_class: Option<Class>,
    /// A data set whose training images are learned from in place of the suite's. Their labels are not looked at.
    pub transfer: Option<DataSpec>,
    /// Number of its training images (a choice that is the same for every seed); all unless given.
    pub n_train: Option<usize>,
    /// In place of the suite's.
    pub plan: Option<Plan>,
    /// How the objectives of students with several candidates are chosen.
    pub choose: Option<Choose>,
    /// In place of the suite's.
    pub augment: Option<Augment>,
    /// Keeps what the teacher says of stored versions of the images, in the folder `soft-targets`
    /// beside that of the run, for this training and others.
    pub soft_targets: Option<SoftTargets>,
    /// An earlier training of one model of the same network: its weights are the first ones.
    pub init: Option<String>,
    /// A file of weights of the same network, which are the first ones; its head may be for other
    /// classes.
    pub init_weights: Option<PathBuf>,
    /// Where in it the weights are, where it is from elsewhere.
    #[serde(default, skip_serializing_if = "Naming::is_default")]
    pub init_naming: Naming,
    /// Patterns of the parameters that stay as they are: of their names, of the parts that they are of, or
    /// `op:batch-norm` for all of one operation; `!` before one is all others.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// What the learning rate of some parameters is multiplied by, by patterns of their names.
    #[serde(default)]
    pub learning_rate_of: BTreeMap<String, f64>,
    /// The attack that changes each batch, for adversarial training.
    pub perturb: Option<AttackSpec>,
    /// The students, one by one.
    #[serde(default)]
    pub student: Vec<Student>,
    /// More students: distillation at every combination of these.
    pub grid: Option<Grid>,
}

/// How objectives are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choose {
    /// Epochs for which each candidate is trained.
    pub n_epochs: u64,
    /// Candidates that a student may have at most.
    pub n_candidates: usize,
    /// In place of the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// One of several teachers: an earlier training, weights, or logits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TeacherFile {
    /// As [`TrainingFile::teacher`].
    pub training: Option<String>,
    /// As [`TrainingFile::teacher_weights`].
    pub weights: Option<PathBuf>,
    /// As [`TrainingFile::teacher_model`].
    #[serde(deserialize_with = "names::some_network")]
    pub model: Option<ModelSpec>,
    /// As [`TrainingFile::teacher_naming`].
    #[serde(skip_serializing_if = "Naming::is_default")]
    pub naming: Naming,
    /// As [`TrainingFile::teacher_logits`].
    pub logits: Option<PathBuf>,
}

/// What several teachers give the mean of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AverageOf {
    /// Their logits.
    Logits,
    /// Their probabilities, at the students' temperature.
    Probabilities,
}

/// One student.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Student {
    /// Name within the training.
    pub name: String,
    /// Id of the paper's number that it answers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossSpec>,
    /// In its place candidates, of which held-out images choose one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<LossSpec>,
    /// In place of the training's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perturb: Option<AttackSpec>,
}

impl Student {
    /// A student of one objective.
    pub fn new(name: impl Into<String>, loss: LossSpec) -> Self {
        Self { name: name.into(), claim: None, loss: Some(loss), losses: Vec::new(), perturb: None }
    }
}

/// Distillation students, named `alphaA-tT`; one that is listed by this name replaces its cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Weights of the soft term.
    pub alpha: Vec<f64>,
    /// Temperatures.
    pub temperature: Vec<f64>,
    /// How the soft term is averaged.
    #[serde(default)]
    pub reduction: kd_core::ops::Reduction,
    /// Where the paper has the number `CLAIM/alphaA-tT`, the student answers to it.
    pub claim: Option<String>,
}

/// One attack on several models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackFile {
    /// Name, such as `pgd`.
    pub name: String,
    /// The attack and its settings.
    pub attack: AttackSpec,
    /// The models that are attacked: `training/model`, or `training` for all of its models.
    pub models: Vec<String>,
    /// The models that are shown the same images.
    #[serde(default)]
    pub transfer_to: Vec<String>,
    /// More radii, for a curve.
    #[serde(default)]
    pub curve: Vec<f32>,
    /// Number of test images: the first ones.
    pub n_images: usize,
    /// A model; the images are the first ones that it classifies correctly.
    pub correct_by: Option<String>,
    /// Number of images that are shown.
    #[serde(default)]
    pub pictures: usize,
}

/// How large logits and gradients of several models are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CensusFile {
    /// As [`AttackFile::models`].
    pub models: Vec<String>,
    /// Number of test images: the first ones.
    pub n_images: usize,
}

/// Several models on other images than those of the test set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationFile {
    /// Name, such as `on-blurred`.
    pub name: String,
    /// As [`AttackFile::models`].
    pub models: Vec<String>,
    /// The data set, of which the classes are those of the suite's; that one unless given.
    pub data: Option<DataSpec>,
    /// The part of it.
    #[serde(default = "test")]
    pub split: Split,
}

fn test() -> Split {
    Split::Test
}

/// An audit of several models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFile {
    /// Name, by which presets choose.
    pub name: String,
    /// As [`AttackFile::models`].
    pub models: Vec<String>,
    /// The models whose adversarial images are tried as well.
    #[serde(default)]
    pub transfer_from: Vec<String>,
    /// Number of test images: the first ones.
    pub n_images: usize,
    /// A model; the images are the first ones that it classifies correctly.
    pub correct_by: Option<String>,
    /// How thorough it is.
    #[serde(default)]
    pub audit: Audit,
}

impl Suite {
    /// Reads a suite file.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Config`] naming file, line and what is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fsx::read_bounded(path, 1 << 20, "give the path of a suite file")?;
        Self::parse(&path.display().to_string(), &fsx::text(path, bytes)?)
    }

    /// The suite that `text` says, which is that of the file `name`.
    ///
    /// # Errors
    /// [`Error::Config`] naming file, line and what is wrong.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start);
            let line = 1 + text[..start].matches('\n').count();
            let message = e.message().replace('\n', " ");
            Error::config(format!("{name}:{line}"), message)
        })
    }

    /// The suite with the network of the file `weights`, which is `model` where that does not say
    /// it, and lies where `naming` says, in place of every teacher that it trains: those trainings are left out.
    ///
    /// # Errors
    /// [`Error::Config`] when no training has a teacher.
    pub fn with_teacher(
        mut self,
        weights: &Path,
        model: Option<&ModelSpec>,
        naming: &Naming,
    ) -> Result<Self> {
        let teachers: Vec<String> =
            self.training.iter().filter_map(|t| t.teacher.clone()).collect();
        if teachers.is_empty() {
            return Err(Error::config("teacher", "no training of this suite has a teacher"));
        }
        self.training.retain(|training| !teachers.contains(&training.name));
        for preset in self.preset.values_mut() {
            preset.plan.retain(|name, _| !teachers.contains(name));
            preset.trainings.iter_mut().for_each(|all| all.retain(|name| !teachers.contains(name)));
        }
        for training in &mut self.training {
            if training.teacher.take().is_some() {
                training.teacher_weights = Some(weights.into());
                training.teacher_model = model.cloned();
                training.teacher_naming = naming.clone();
            }
        }
        Ok(self)
    }
}
