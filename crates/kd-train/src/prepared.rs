//! A batch before the step that learns from it.

use candle_core::Tensor;
use kd_core::{Batch, Classifier, Result};

use crate::teacher::Said;

/// A batch with what the teacher says of it.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(crate) batch: Batch,
    pub(crate) said: Option<Said>,
    /// Other versions of the same images, with what the teacher says of them.
    pub(crate) others: Vec<(Tensor, Option<Said>)>,
    /// Images of the data set.
    pub(crate) n_samples: usize,
    /// What the frozen part of the students makes of the images, which may be missing then.
    pub(crate) features: Option<Tensor>,
}

/// Adds to `batch` what the teacher says of it, its parts `taps` included: one forward serves all
/// students.
///
/// # Errors
/// Whatever the teacher reports.
pub fn prepare(
    batch: Batch,
    teacher: Option<&dyn Classifier>,
    taps: &[String],
) -> Result<Prepared> {
    let teacher = teacher.filter(|_| !batch.indices.is_empty());
    let said = teacher.map(|teacher| Said::by(teacher, &batch, taps)).transpose()?;
    let n_samples = batch.indices.iter().max().map_or(0, |last| *last as usize + 1);
    Ok(Prepared { said, ..Prepared::plain(batch, n_samples) })
}

impl Prepared {
    /// `batch` of a set of so many images, of which nobody has said anything.
    pub(crate) fn plain(batch: Batch, n_samples: usize) -> Self {
        Self { batch, said: None, others: Vec::new(), n_samples, features: None }
    }

    /// With logits `(N, K)` of a teacher that were computed elsewhere.
    #[must_use]
    pub fn with_teacher_logits(self, logits: Tensor) -> Self {
        Self { said: Some(Said::known(logits)), ..self }
    }

    /// With another version of the same images, of which the teacher says something as well.
    ///
    /// # Errors
    /// Whatever the teacher reports.
    pub fn with_view(mut self, batch: &Batch, teacher: Option<&dyn Classifier>) -> Result<Self> {
        let said = teacher.map(|teacher| Said::by(teacher, batch, &[])).transpose()?;
        self.others.push((batch.images.clone(), said));
        Ok(self)
    }

    /// Whether it has what the frozen part of the students makes of the images.
    pub fn has_features(&self) -> bool {
        self.features.is_some()
    }
}
