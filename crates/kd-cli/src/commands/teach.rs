//! Flags that say who teaches.

use std::path::{Path, PathBuf};

use kd_core::Result;
use kd_suite::{AverageOf, TeacherFile};
use kd_train::{SoftTargets, StoredAs};

use super::setting::NamingArgs;
use super::words::one_of;

/// Who teaches, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct TeacherArgs {
    /// Weights of a teacher: distil from it. Given several times, from all of them together
    #[arg(long, value_name = "PATH", group = "taught")]
    teacher: Vec<PathBuf>,
    /// A teacher's logits that were computed elsewhere: a .npy or safetensors file of (N, K), or
    /// (views, N, K), in the order that `kd data views` lists. Given several times, all of them together
    #[arg(long, value_name = "FILE", group = "taught")]
    teacher_logits: Vec<PathBuf>,
    /// The teacher's network, such as resnet56 or mlp-1200-1200, where its weights are from
    /// elsewhere; of several teachers that of all, or one for each
    #[arg(long, value_name = "NAME", requires = "teacher")]
    teacher_model: Vec<String>,
    /// What several teachers give the mean of; probabilities at --temperature
    #[arg(long, value_parser = one_of::<AverageOf>(&["probabilities", "logits"]), requires = "taught")]
    pub(crate) average: Option<AverageOf>,
    #[command(flatten)]
    naming: NamingArgs,
    /// Weight of the teacher's soft targets
    #[arg(long, default_value_t = 0.5, requires = "taught")]
    pub(crate) alpha: f64,
    /// Temperature of the soft targets
    #[arg(long, default_value_t = 5.0, requires = "taught")]
    pub(crate) temperature: f64,
    /// Keep what the teacher says of each version of each image beside --out, for this training and
    /// others: as f32, the same bits, or in 8 bits
    #[arg(long, value_parser = one_of::<StoredAs>(&["f32", "8-bit"]), value_name = "HOW")]
    #[arg(requires = "teacher")]
    soft_targets: Option<StoredAs>,
}

impl TeacherArgs {
    /// Whether anybody teaches.
    pub(crate) fn is_given(&self) -> bool {
        !self.teacher.is_empty() || !self.teacher_logits.is_empty()
    }

    /// The first one's weights.
    pub(crate) fn first(&self) -> Option<&Path> {
        self.teacher.first().map(PathBuf::as_path)
    }

    /// The teachers.
    pub(crate) fn files(&self) -> Result<Vec<TeacherFile>> {
        let naming = self.naming.of_teacher(self.first())?;
        TeacherFile::several((&self.teacher, &self.teacher_logits), &self.teacher_model, &naming)
    }

    /// What is kept of what the teacher says.
    pub(crate) fn soft_targets(&self) -> Option<SoftTargets> {
        self.soft_targets.map(|stored_as| SoftTargets { stored_as, ..SoftTargets::default() })
    }
}
