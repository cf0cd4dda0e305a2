//! A run in full: what `spec.toml` says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kd_adv::{AttackSpec, Audit};
use kd_core::ops::{ConvSums, Normalize};
use kd_core::record::{DataFile, ModelId, ReadingsRecord};
use kd_core::{Error, Result};
use kd_data::{Augment, DataSpec, Split};
use kd_models::ModelSpec;
use kd_models::weights::Naming;
use kd_train::{Average, LossSpec, Plan, SoftTargets};
use serde::{Serialize, Serializer};

use super::class::Class;
use super::holdout::Holdout;

/// Everything that decides a run's numbers, with no default left open: written as `spec.toml`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spec {
    pub(crate) suite: String,
    pub(crate) preset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    pub(crate) seeds: u64,
    pub(crate) conv_sums: ConvSums,
    pub(crate) holdout: Holdout,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) n_train: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) n_test: Option<usize>,
    pub(crate) data: DataSpec,
    pub(crate) normalize: Normalize,
    pub(crate) files: Vec<SpecFile>,
    pub(crate) training: Vec<TrainingSpec>,
    /// Which models answer the paper, where it can be read in several ways.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "axes")]
    pub(crate) readings: Option<ReadingsRecord>,
    #[serde(flatten)]
    pub(crate) questions: Questions,
}

/// A file of the data set, by digest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SpecFile {
    pub(crate) name: String,
    pub(crate) sha256: String,
}

/// One training, in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct TrainingSpec {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) omit_class: Option<Class>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transfer: Option<DataSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) n_train: Option<usize>,
    pub(crate) model: ModelSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) teacher: Option<Teacher>,
    pub(crate) plan: Plan,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) choose: Option<ChooseSpec>,
    pub(crate) augment: Augment,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) soft_targets: Option<SoftTargets>,
    /// The model whose weights are the first ones.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "name")]
    pub(crate) init: Option<ModelId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init_weights: Option<InitWeights>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) freeze: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) learning_rate_of: BTreeMap<String, f64>,
    pub(crate) student: Vec<StudentSpec>,
}

/// One student, in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StudentSpec {
    pub(crate) name: String,
    /// Id of the paper's number that it answers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claim: Option<String>,
    /// The objective; of several candidates the first, until one is chosen.
    pub(crate) loss: LossSpec,
    /// The candidates; none where there is nothing to choose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) losses: Vec<LossSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) perturb: Option<AttackSpec>,
}

impl StudentSpec {
    /// Its objective, or all that one is to be chosen from.
    pub(crate) fn objectives(&self) -> &[LossSpec] {
        if self.losses.is_empty() { std::slice::from_ref(&self.loss) } else { &self.losses }
    }
}

/// How objectives are chosen, in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ChooseSpec {
    /// Seed of the short training.
    pub(crate) seed: u64,
    /// Candidates that a student may have at most.
    pub(crate) n_candidates: usize,
    /// Plan of the short training.
    pub(crate) plan: Plan,
}

/// A file of weights that a training begins with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct InitWeights {
    /// Checkpoint folder or file.
    pub(crate) path: PathBuf,
    /// SHA-256 of its tensors' file.
    pub(crate) sha256: String,
    /// Where in the file they are, where that was given.
    #[serde(skip_serializing_if = "Naming::is_default")]
    pub(crate) naming: Naming,
}

/// Where a teacher comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Teacher {
    /// An earlier training of the same run and seed.
    Training(String),
    /// A checkpoint.
    Weights {
        /// Checkpoint folder or safetensors file.
        path: PathBuf,
        /// SHA-256 of its tensors' file.
        sha256: String,
        /// Short name of the network in it.
        network: String,
        /// The network, where its name was given.
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<ModelSpec>,
        /// Where in the file they are, where that was given.
        #[serde(skip_serializing_if = "Naming::is_default")]
        naming: Naming,
    },
    /// Logits that were computed elsewhere.
    Logits {
        /// The file.
        path: PathBuf,
        /// Its SHA-256.
        sha256: String,
    },
    /// Several: of the other kinds, all of them logits or none.
    Several {
        /// How they become one.
        average: Average,
        /// One by one.
        members: Vec<Teacher>,
    },
}

impl Teacher {
    /// One by one.
    pub(crate) fn members(&self) -> &[Self] {
        match self {
            Self::Several { members, .. } => members,
            one => std::slice::from_ref(one),
        }
    }

    /// How several become one; of one alone it does not matter.
    pub(crate) fn average(&self) -> Average {
        match self {
            Self::Several { average, .. } => *average,
            _ => Average::Logits,
        }
    }

    /// The files of logits; none where networks teach.
    pub(crate) fn logits(&self) -> Vec<PathBuf> {
        let path = |member: &Self| match member {
            Self::Logits { path, .. } => Some(path.clone()),
            _ => None,
        };
        self.members().iter().filter_map(path).collect()
    }

    /// What networks from elsewhere are called; nothing for one that the run trains itself, and for
    /// logits.
    pub(crate) fn network(&self) -> Option<String> {
        let name = |member: &Self| match member {
            Self::Training(name) => Some(name.clone()),
            Self::Weights { network, .. } => Some(network.clone()),
            _ => None,
        };
        match self {
            Self::Training(_) | Self::Logits { .. } => None,
            other => {
                let names: Option<Vec<String>> = other.members().iter().map(name).collect();
                names.map(|names| names.join(" + "))
            }
        }
    }
}

impl Spec {
    /// The text of `spec.toml`.
    pub(crate) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::config("spec", e.to_string()))
    }

    /// Whether models are attacked or audited, in training or afterwards.
    pub fn has_attacks(&self) -> bool {
        let mut students = self.training.iter().flat_map(|training| &training.student);
        let Questions { census, attack, audit, .. } = &self.questions;
        census.is_some()
            || !attack.is_empty()
            || !audit.is_empty()
            || students.any(|s| s.perturb.is_some())
    }

    /// The training `name`.
    pub(crate) fn training(&self, name: &str) -> Result<&TrainingSpec> {
        let found = self.training.iter().find(|training| training.name == name);
        found.ok_or_else(|| Error::config("teacher", format!("there is no training `{name}`")))
    }

    /// Normalizes images of so many channels as the data set does, where nothing else is chosen.
    pub(crate) fn with_channels(mut self, n_channels: usize) -> Self {
        let data = self.data.as_dyn();
        if self.normalize == data.normalize() {
            self.normalize = data.normalize_for(n_channels);
        }
        self
    }

    /// Adds the digests of the data set's files.
    pub(crate) fn with_files(mut self, files: &[DataFile]) -> Self {
        let file = |f: &DataFile| SpecFile { name: f.name.clone(), sha256: f.sha256.clone() };
        self.files = files.iter().map(file).collect();
        self
    }
}

/// Models as text, `training/model`.
fn names<S: Serializer>(models: &[ModelId], to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_seq(models.iter().map(ModelId::to_string))
}

/// The rest follows from the axes and the trainings.
fn axes<S: Serializer>(
    readings: &Option<ReadingsRecord>,
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    readings.as_ref().map(|readings| &readings.axes).serialize(to)
}

fn name<S: Serializer>(model: &Option<ModelId>, to: S) -> std::result::Result<S::Ok, S::Error> {
    model.as_ref().map(ModelId::to_string).serialize(to)
}

/// Everything that is asked of a run's models, in full.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Questions {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) evaluation: Vec<EvaluationSection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) census: Option<CensusSpec>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) attack: Vec<AttackSection>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) audit: Vec<AuditSection>,
}

/// The first test images, or the first ones that a model classifies correctly.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ImagesSpec {
    pub(crate) n_images: usize,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "name")]
    pub(crate) correct_by: Option<ModelId>,
}

/// One attack, in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AttackSection {
    pub(crate) name: String,
    #[serde(serialize_with = "names")]
    pub(crate) models: Vec<ModelId>,
    #[serde(serialize_with = "names")]
    pub(crate) transfer_to: Vec<ModelId>,
    pub(crate) pictures: usize,
    pub(crate) images: ImagesSpec,
    pub(crate) attack: AttackSpec,
    /// The same at the other radii.
    pub(crate) curve: Vec<AttackSpec>,
}

/// One evaluation, in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct EvaluationSection {
    pub(crate) name: String,
    #[serde(serialize_with = "names")]
    pub(crate) models: Vec<ModelId>,
    pub(crate) data: DataSpec,
    pub(crate) split: Split,
}

/// A census, in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CensusSpec {
    #[serde(serialize_with = "names")]
    pub(crate) models: Vec<ModelId>,
    pub(crate) images: ImagesSpec,
}

/// One audit, in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AuditSection {
    pub(crate) name: String,
    #[serde(serialize_with = "names")]
    pub(crate) models: Vec<ModelId>,
    #[serde(serialize_with = "names")]
    pub(crate) transfer_from: Vec<ModelId>,
    pub(crate) images: ImagesSpec,
    pub(crate) audit: Audit,
}
