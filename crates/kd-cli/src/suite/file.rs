//! What a suite file says. Unknown keys are refused with the list of valid ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kd_adv::AttackSpec;
use kd_core::ops::Normalize;
use kd_core::{Error, Result, fsx};
use kd_data::{Augment, DataSpec};
use kd_models::ModelSpec;
use kd_train::{LossSpec, OptimizerSpec, Plan, Schedule, SoftTargets};
use serde::{Deserialize, Serialize};

use super::robustness::{AttackFile, AuditFile, CensusFile};

/// A suite: data, defaults, and trainings in the order in which they run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    /// Name, such as `mnist`.
    pub(crate) suite: String,
    /// The data set.
    pub(crate) data: DataSpec,
    /// Its synthetic stand-in, for `--synthetic`.
    pub(crate) synthetic: DataSpec,
    /// How all networks that are trained normalize their images, in place of the data set's way; and
    /// a teacher whose weights do not say it.
    pub(crate) normalize: Option<Normalize>,
    /// Training images set aside for choosing between recipes.
    #[serde(default)]
    pub(crate) holdout: usize,
    /// How trainings run that do not say otherwise.
    pub(crate) plan: Plan,
    /// How their images are changed.
    #[serde(default)]
    pub(crate) augment: Augment,
    /// Smaller versions of the suite, by name.
    #[serde(default)]
    pub(crate) preset: BTreeMap<String, Preset>,
    /// The trainings.
    pub(crate) training: Vec<TrainingFile>,
    /// How large logits and gradients of trained models are.
    pub(crate) census: Option<CensusFile>,
    /// Attacks on trained models.
    #[serde(default)]
    pub(crate) attack: Vec<AttackFile>,
    /// Audits of trained models.
    #[serde(default)]
    pub(crate) audit: Vec<AuditFile>,
}

/// What a preset changes; what it leaves out stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preset {
    /// What it is, for the reader of the report.
    pub(crate) about: Option<String>,
    /// Runs on the synthetic stand-in, whatever data there are: for presets that are too small for
    /// the data set itself.
    #[serde(default)]
    pub(crate) synthetic: bool,
    /// Epochs of every training.
    pub(crate) n_epochs: Option<u64>,
    /// Images a step of every training.
    pub(crate) batch_size: Option<usize>,
    /// Learning rate before the schedule of every training.
    pub(crate) learning_rate: Option<f64>,
    /// The optimizer of every training.
    pub(crate) optimizer: Option<OptimizerSpec>,
    /// Learning rates of every training.
    pub(crate) schedule: Option<Schedule>,
    /// Number of training images (a seeded choice).
    pub(crate) n_train: Option<usize>,
    /// Number of test images (a seeded choice).
    pub(crate) n_test: Option<usize>,
    /// Names of the trainings that run.
    pub(crate) trainings: Option<Vec<String>>,
    /// In place of the plans of the trainings named here.
    #[serde(default)]
    pub(crate) plan: BTreeMap<String, Plan>,
    /// Names of the attacks that run.
    pub(crate) attacks: Option<Vec<String>>,
    /// Names of the audits that run.
    pub(crate) audits: Option<Vec<String>>,
    /// Largest number of images of the census and of an attack or audit.
    pub(crate) n_images: Option<usize>,
}

/// A teacher alone, or a cohort of students.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainingFile {
    /// Name, such as `student30`.
    pub(crate) name: String,
    /// The network of every student.
    pub(crate) model: ModelSpec,
    /// Name of an earlier training of one model: the teacher.
    pub(crate) teacher: Option<String>,
    /// A checkpoint of a teacher, in place of a training.
    pub(crate) teacher_weights: Option<PathBuf>,
    /// The network in it, where its weights do not say it.
    pub(crate) teacher_model: Option<ModelSpec>,
    /// Class that the training images lack.
    pub(crate) omit_class: Option<u32>,
    /// In place of the suite's.
    pub(crate) plan: Option<Plan>,
    /// In place of the suite's.
    pub(crate) augment: Option<Augment>,
    /// Keeps what the teacher says of stored versions of the images, in the folder `soft-targets`
    /// beside that of the run, for this training and others.
    pub(crate) soft_targets: Option<SoftTargets>,
    /// An earlier training of one model of the same network: its weights are the first ones.
    pub(crate) init: Option<String>,
    /// The attack that changes each batch, for adversarial training.
    pub(crate) perturb: Option<AttackSpec>,
    /// The students, one by one.
    #[serde(default)]
    pub(crate) student: Vec<StudentFile>,
    /// More students: distillation at every combination of these.
    pub(crate) grid: Option<Grid>,
}

/// One student.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StudentFile {
    /// Name within the training.
    pub(crate) name: String,
    /// The objective.
    pub(crate) loss: LossSpec,
    /// Id of the paper's number that it answers to.
    pub(crate) claim: Option<String>,
    /// In place of the training's.
    pub(crate) perturb: Option<AttackSpec>,
}

/// Distillation students, named `alphaA-tT`; one that is listed by this name replaces its cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grid {
    /// Weights of the soft term.
    pub(crate) alpha: Vec<f64>,
    /// Temperatures.
    pub(crate) temperature: Vec<f64>,
    /// How the soft term is averaged.
    #[serde(default)]
    pub(crate) reduction: kd_core::ops::Reduction,
    /// Where the paper has the number `CLAIM/alphaA-tT`, the student answers to it.
    pub(crate) claim: Option<String>,
}

impl Suite {
    /// Reads a suite file.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Config`] naming file, line and what is wrong.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fsx::read_bounded(path, 1 << 20, "give the path of a suite file")?;
        let text = String::from_utf8_lossy(&bytes);
        toml::from_str(&text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start);
            let line = 1 + text[..start].matches('\n').count();
            let message = e.message().replace('\n', " ");
            Error::config(format!("{}:{line}", path.display()), message)
        })
    }

    /// The suite with the network of the file `weights`, which is `model` where that does not say
    /// it, in place of every teacher that it trains: those trainings are left out.
    ///
    /// # Errors
    /// [`Error::Config`] when no training has a teacher.
    pub(crate) fn with_teacher(
        mut self,
        weights: &Path,
        model: Option<&ModelSpec>,
    ) -> Result<Self> {
        let teachers: Vec<String> =
            self.training.iter().filter_map(|t| t.teacher.clone()).collect();
        if teachers.is_empty() {
            return Err(Error::config("teacher", "no training of this suite has a teacher"));
        }
        self.training.retain(|training| !teachers.contains(&training.name));
        for names in self.preset.values_mut().filter_map(|preset| preset.trainings.as_mut()) {
            names.retain(|name| !teachers.contains(name));
        }
        for training in &mut self.training {
            if training.teacher.take().is_some() {
                training.teacher_weights = Some(weights.into());
                training.teacher_model = model.cloned();
            }
        }
        Ok(self)
    }
}
