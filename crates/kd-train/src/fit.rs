//! THE training loop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kd_core::{Batch, BatchSource, Classifier, Error, Result, Stream};
use rayon::prelude::*;

use crate::cohort::{Cohort, Student};
use crate::evaluate::EvalSet;
use crate::measure::{curve_points, end_epoch};
use crate::metrics_log::MetricsLog;
use crate::plan::Plan;
use crate::progress::{Counters, timed};
use crate::soft_targets::SoftTargetStore;
use crate::teacher::{Said, Teacher};

/// What a cohort learns from and is measured on.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// Training images. A batch may have fewer images than were asked for, where some cannot be
    /// read; one without any is passed over.
    pub train: &'a dyn BatchSource,
    /// Test images.
    pub test: &'a EvalSet,
    /// Training images set aside for choosing.
    pub holdout: Option<&'a EvalSet>,
    /// The teacher of all students.
    pub teacher: Option<&'a dyn Classifier>,
    /// Keeps what the teacher says of stored versions of the training images.
    pub soft_targets: Option<SoftTargetStore<'a>>,
}

/// Where a training writes and how it is stopped.
pub struct Run<'a> {
    /// Receives one record a student and epoch, and those of learning curves.
    pub metrics: &'a mut MetricsLog,
    /// Where to keep the state for resuming.
    pub checkpoint: &'a Path,
    /// Hash of the resolved spec, kept in the checkpoint.
    pub spec_hash: &'a str,
    /// Least time between two checkpoints at ends of epochs.
    pub checkpoint_every: Duration,
    /// Least time from a checkpoint to one within an epoch, for epochs that take hours.
    pub checkpoint_within: Duration,
    /// Set by a signal handler to stop after the current step.
    pub stop: &'a AtomicBool,
    /// For a progress bar to read.
    pub counters: &'a Counters,
}

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// It was stopped; the checkpoint resumes it exactly.
    Interrupted,
}

/// What stays the same from the first step of a training to its last.
pub(crate) struct Course<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) data: Data<'a>,
    pub(crate) n_steps: u64,
    teacher: Option<Teacher<'a>>,
    noise: Stream,
}

impl<'a> Course<'a> {
    fn new(plan: &'a Plan, data: Data<'a>, cohort: &Cohort) -> Result<Self> {
        plan.check()?;
        cohort.check(data.teacher)?;
        let n_steps = plan.n_steps(data.train.n_samples());
        let store = data.soft_targets.as_ref();
        let taps = cohort.teacher_taps();
        let remember = |model| Teacher::new(model, data.train, plan.n_epochs, store, taps);
        let teacher = data.teacher.map(remember).transpose()?;
        Ok(Self { plan, data, n_steps, teacher, noise: Stream::new(cohort.seed).at("dropout") })
    }
}

/// Trains all students of `cohort` from where it stands to the end of the plan.
///
/// Each batch and each teacher forward serves all students, which step in parallel. Data order,
/// crops and dropout are functions of seed, epoch, step and image, so the result is the same bits
/// for any number of threads, alone or in a cohort, interrupted or not.
///
/// # Errors
/// [`Error::Diverged`] when a loss is not finite; [`Error::Config`] when an objective needs a
/// teacher or parts of networks that are not there, and when a step gives no parameter of a
/// student a gradient, naming the student; whatever data, networks and files report.
pub fn fit(cohort: &mut Cohort, plan: &Plan, data: Data<'_>, run: &mut Run<'_>) -> Result<Outcome> {
    let course = Course::new(plan, data, cohort)?;
    let mut saved = Saved { at: Instant::now(), cost: Duration::ZERO };
    while cohort.epoch < plan.n_epochs {
        let epoch = cohort.epoch;
        let order = data.train.order(epoch);
        let todo: Vec<_> = order.chunks(plan.batch_size).skip(cohort.step as usize).collect();
        let mut groups = todo.chunks(AHEAD).map(|group| prepare_group(group, epoch, &course));
        let (first, time) = timed(|| groups.next().transpose());
        wait(cohort, run, time);
        let mut next = first?;
        while let Some(current) = next {
            // The next batches and their teacher forwards are made while the students learn.
            let (((stepped, busy), following), time) = timed(|| {
                rayon::join(
                    || timed(|| train_group(cohort, &current, &course, run)),
                    || groups.next().transpose(),
                )
            });
            stepped?;
            next = following?;
            wait(cohort, run, time.saturating_sub(busy));
            let stopped = run.stop.load(Ordering::Relaxed);
            let due = stopped || saved.is_old(run.checkpoint_within);
            if due && cohort.step < course.n_steps {
                saved = save(cohort, run)?;
                if stopped {
                    return Ok(Outcome::Interrupted);
                }
            }
        }
        end_epoch(cohort, &course, run)?;
        let stopped = run.stop.load(Ordering::Relaxed) && cohort.epoch < plan.n_epochs;
        if stopped || cohort.epoch == plan.n_epochs || saved.is_old(run.checkpoint_every) {
            saved = save(cohort, run)?;
        }
        if stopped {
            return Ok(Outcome::Interrupted);
        }
    }
    Ok(Outcome::Finished)
}

/// Batches that are prepared at once, one thread each: fewer waits than sharing each one's work.
/// Twice as many are in memory.
const AHEAD: usize = 4;

fn prepare_group(group: &[&[u32]], epoch: u64, course: &Course<'_>) -> Result<Vec<Prepared>> {
    let source = course.data.train;
    let ask = |batch: Batch| {
        let teacher = course.teacher.as_ref().filter(|_| !batch.indices.is_empty());
        let said = teacher.map(|teacher| teacher.say(epoch, &batch)).transpose()?;
        Ok(Prepared { batch, said })
    };
    let batch = |indices: &&[u32]| source.batch(epoch, indices);
    if source.device().is_cpu() {
        return group.par_iter().map(|indices| ask(batch(indices)?)).collect();
    }
    let batches = group.par_iter().map(batch).collect::<Result<Vec<_>>>()?;
    batches.into_iter().map(ask).collect()
}

/// One step for each batch of the group, or fewer when the run is stopped.
fn train_group(
    cohort: &mut Cohort,
    group: &[Prepared],
    course: &Course<'_>,
    run: &mut Run<'_>,
) -> Result<()> {
    for prepared in group {
        let stream = course.noise.number(cohort.steps_done(course.n_steps));
        let learning_rate = course.plan.rate(cohort.epoch, cohort.step, course.n_steps);
        let (stepped, time) = timed(|| train_step(cohort, prepared, learning_rate, stream));
        stepped?;
        cohort.step += 1;
        cohort.clock.stepping += time.as_secs_f64();
        run.counters.step(prepared.batch.indices.len());
        if cohort.is_at_curve_point(course) {
            curve_points(cohort, course, run)?;
        }
        if run.stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

/// A batch with what the teacher says of it.
#[derive(Debug, Clone)]
pub struct Prepared {
    batch: Batch,
    said: Option<Said>,
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
    Ok(Prepared { batch, said })
}

/// One step of every student, in parallel on the CPU; none for a batch without images.
///
/// # Errors
/// As [`fit`].
pub fn train_step(
    cohort: &mut Cohort,
    prepared: &Prepared,
    learning_rate: f64,
    stream: Stream,
) -> Result<()> {
    let Prepared { batch, said } = prepared;
    if batch.indices.is_empty() {
        return Ok(());
    }
    if let Some(said) = said {
        cohort.teacher_rows.0 += batch.indices.len() as u64;
        cohort.teacher_rows.1 += said.n_computed as u64;
    }
    let (at, now) = ((cohort.epoch + 1, cohort.step + 1), (cohort.epoch, learning_rate));
    let step = |student: &mut Student| {
        let loss = student.step(batch, said.as_ref(), now, stream)?;
        loss.map_or(Ok(()), |loss| check_finite(loss, student, at))
    };
    if batch.images.device().is_cuda() {
        // One GPU: threads that ask it for work at the same time wait for each other.
        return cohort.students.iter_mut().try_for_each(step);
    }
    // No more at once than there are threads: a thread that waits within one student's operation
    // would begin with another student, until the activations of all are in memory together.
    let mut groups = cohort.students.chunks_mut(rayon::current_num_threads());
    groups.try_for_each(|group| group.par_iter_mut().try_for_each(step))
}

/// Reads what the students' GPU has counted, where there is one.
///
/// # Errors
/// As [`fit`].
pub(crate) fn settle(cohort: &mut Cohort) -> Result<()> {
    let at = (cohort.epoch + 1, cohort.step);
    cohort.students.iter_mut().try_for_each(|student| {
        let loss = student.settle()?;
        loss.map_or(Ok(()), |loss| check_finite(loss, student, at))
    })
}

/// The last checkpoint: when it was written, and how long that took.
struct Saved {
    at: Instant,
    cost: Duration,
}

impl Saved {
    /// Whether another one is due: after `least`, but so rarely that writing takes no more than a
    /// twentieth of the time (a GPU trains ten ResNet-18s for an epoch in as long as they take to
    /// write). Without a least time each chance is taken.
    fn is_old(&self, least: Duration) -> bool {
        least.is_zero() || self.at.elapsed() >= least.max(19 * self.cost)
    }
}

/// Writes a checkpoint.
fn save(cohort: &mut Cohort, run: &mut Run<'_>) -> Result<Saved> {
    let started = Instant::now();
    settle(cohort)?;
    run.metrics.sync()?;
    cohort.save(run.checkpoint, run.spec_hash, run.metrics.n_bytes())?;
    Ok(Saved { at: Instant::now(), cost: started.elapsed() })
}

/// Counts time in which the students waited.
fn wait(cohort: &mut Cohort, run: &Run<'_>, time: Duration) {
    cohort.clock.waiting += time.as_secs_f64();
    run.counters.wait(time);
}

fn check_finite(loss: f64, student: &Student, (epoch, step): (u64, u64)) -> Result<()> {
    if loss.is_finite() {
        return Ok(());
    }
    Err(Error::Diverged { what: format!("loss of {}", student.name), epoch, step })
}

#[cfg(test)]
mod tests;
