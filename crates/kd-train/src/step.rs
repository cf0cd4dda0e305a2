//! One step of all students: what `fit` does for each batch, and what estimates and benchmarks time.

use std::iter;
use std::sync::Arc;

use candle_core::Tensor;
use kd_core::{Error, Result, Shared, Stream, share};
use rayon::prelude::*;

use crate::cohort::Cohort;
use crate::prepared::Prepared;
use crate::student::{Seen, Student};

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

    /// While this lives, students share what they make of the images before their first layers.
    fn share(&self) -> Vec<Arc<Shared>> {
        let views = self.others.iter().map(|(images, _)| images);
        iter::once(&self.batch.images).chain(views).map(share).collect()
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
    let _shared = (cohort.learning().count() > 1).then(|| prepared.share());
    let of_others = others.iter().filter_map(|(_, said)| said.as_ref());
    for said in said.iter().chain(of_others) {
        cohort.teacher_rows.0 += batch.indices.len() as u64;
        cohort.teacher_rows.1 += said.n_computed as u64;
    }
    let (at, now) = ((cohort.epoch + 1, cohort.step + 1), (cohort.epoch, learning_rate));
    let at = (at, cohort.may_diverge);
    let (together, mut alone): (Vec<&mut Student>, Vec<_>) =
        cohort.learning().partition(|student| student.loss.needs_peers());
    each(&mut alone, prepared, |student| {
        let loss = student.step(prepared, now, stream)?;
        loss.map_or(Ok(()), |loss| check_finite(loss, student, at))
    })?;
    let mut members: Vec<Member<'_>> = together.into_iter().map(Member::new).collect();
    hear(&mut members, prepared, stream)?;
    each(&mut members, prepared, |Member { student, seen, peers }| {
        let Some(seen) = seen else { return Ok(()) };
        let loss = student.learn(prepared, (seen, peers), now, stream)?;
        loss.map_or(Ok(()), |loss| check_finite(loss, student, at))
    })
}

/// One of several students that learn from each other, in one step.
struct Member<'a> {
    student: &'a mut Student,
    /// What its forward pass gave: of all of them it is in memory together.
    seen: Option<Seen>,
    /// What the others say.
    peers: Vec<Tensor>,
}

impl<'a> Member<'a> {
    fn new(student: &'a mut Student) -> Self {
        Self { student, seen: None, peers: Vec::new() }
    }
}

/// Lets every member say what it thinks of the images, and hear the others.
fn hear(members: &mut [Member<'_>], prepared: &Prepared, stream: Stream) -> Result<()> {
    each(members, prepared, |member| {
        member.seen = Some(member.student.forward(prepared, stream)?);
        Ok(())
    })?;
    let said: Vec<Tensor> =
        members.iter().flat_map(|member| &member.seen).map(|(logits, _)| logits.detach()).collect();
    for (place, member) in members.iter_mut().enumerate() {
        let others = said.iter().enumerate().filter(|(other, _)| *other != place);
        member.peers = others.map(|(_, logits)| logits.clone()).collect();
    }
    Ok(())
}

/// Does the same with all of `items`.
fn each<T: Send>(
    items: &mut [T],
    prepared: &Prepared,
    work: impl Fn(&mut T) -> Result<()> + Sync,
) -> Result<()> {
    if prepared.batch.images.device().is_cuda() {
        // One GPU: threads that ask it for work at the same time wait for each other.
        return items.iter_mut().try_for_each(work);
    }
    // No more at once than there are threads: a thread that waits within one student's operation
    // would begin with another student, until the activations of all are in memory together.
    let mut groups = items.chunks_mut(rayon::current_num_threads());
    groups.try_for_each(|group| group.par_iter_mut().try_for_each(&work))
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
pub(crate) fn check_finite(
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
