//! One step of all students: what `fit` does for each batch, and what estimates and benchmarks time.

use kd_core::{Error, Result, Stream};
use rayon::prelude::*;

use crate::cohort::Cohort;
use crate::prepared::Prepared;
use crate::student::Student;

impl Prepared {
    /// With what the frozen part of the students makes of the images, from which their steps go on;
    /// nothing changes where there is none.
    ///
    /// # Errors
    /// Whatever the students report.
    pub fn with_features(mut self, cohort: &Cohort) -> Result<Self> {
        if let Some(student) = cohort.with_trunk().filter(|_| !self.batch.indices.is_empty()) {
            self.features = student.model.features(&self.batch.images)?;
        }
        Ok(self)
    }
}

/// One step of every student, in parallel on the CPU; none for a batch without images.
///
/// # Errors
/// As [`crate::fit`].
pub fn train_step(
    cohort: &mut Cohort,
    prepared: &Prepared,
    learning_rate: f64,
    stream: Stream,
) -> Result<()> {
    let Prepared { batch, said, others, .. } = prepared;
    if batch.indices.is_empty() {
        return Ok(());
    }
    let of_others = others.iter().filter_map(|(_, said)| said.as_ref());
    for said in said.iter().chain(of_others) {
        cohort.teacher_rows.0 += batch.indices.len() as u64;
        cohort.teacher_rows.1 += said.n_computed as u64;
    }
    let (at, now) = ((cohort.epoch + 1, cohort.step + 1), (cohort.epoch, learning_rate));
    let at = (at, cohort.may_diverge);
    let step = |student: &mut Student| {
        let loss = student.step(prepared, now, stream)?;
        loss.map_or(Ok(()), |loss| check_finite(loss, student, at))
    };
    if batch.images.device().is_cuda() {
        // One GPU: threads that ask it for work at the same time wait for each other.
        return cohort.learning().try_for_each(step);
    }
    // No more at once than there are threads: a thread that waits within one student's operation
    // would begin with another student, until the activations of all are in memory together.
    let mut learning: Vec<&mut Student> = cohort.learning().collect();
    let mut groups = learning.chunks_mut(rayon::current_num_threads());
    groups.try_for_each(|group| group.par_iter_mut().try_for_each(|student| step(student)))
}

/// Reads what the students' GPU has counted, where there is one.
///
/// # Errors
/// As [`crate::fit`].
pub(crate) fn settle(cohort: &mut Cohort) -> Result<()> {
    let at = ((cohort.epoch + 1, cohort.step), cohort.may_diverge);
    cohort.students.iter_mut().try_for_each(|student| {
        let loss = student.settle()?;
        loss.map_or(Ok(()), |loss| check_finite(loss, student, at))
    })
}

/// Where the student may diverge, it rests from there on.
fn check_finite(
    loss: f64,
    student: &mut Student,
    ((epoch, step), may_diverge): ((u64, u64), bool),
) -> Result<()> {
    if loss.is_finite() {
        return Ok(());
    }
    if may_diverge {
        (student.diverged, student.rests) = (true, true);
        return Ok(());
    }
    Err(Error::Diverged { what: format!("loss of {}", student.name), epoch, step })
}
