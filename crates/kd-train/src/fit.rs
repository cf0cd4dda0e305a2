//! THE training loop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use candle_core::Tensor;
use kd_core::record::{EpochRecord, Record};
use kd_core::{Batch, BatchSource, Classifier, Error, Mode, Result, Stream};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cohort::{Best, Cohort, Student};
use crate::evaluate::EvalSet;
use crate::metrics_log::MetricsLog;
use crate::optimizer::OptimizerSpec;
use crate::schedule::{At, Schedule};
use crate::teacher::Teacher;

/// How long and how fast to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Passes over the training images.
    pub n_epochs: u64,
    /// Images a step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// Learning rate before the schedule.
    pub learning_rate: f64,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerSpec,
    /// How the learning rate changes.
    #[serde(default)]
    pub schedule: Schedule,
    /// Epochs between evaluations on the test set; the last epoch is always evaluated.
    #[serde(default = "one")]
    pub eval_every: u64,
}

fn one() -> u64 {
    1
}

impl Plan {
    /// Refuses settings outside their domain.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    pub fn check(&self) -> Result<()> {
        for (field, value) in [
            ("n_epochs", self.n_epochs),
            ("batch_size", self.batch_size as u64),
            ("eval_every", self.eval_every),
        ] {
            if value == 0 {
                return Err(Error::config(field, "must be at least 1"));
            }
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            let reason = format!("{} is not above 0", self.learning_rate);
            return Err(Error::config("learning_rate", reason));
        }
        self.optimizer.check()?;
        self.schedule.check(self.n_epochs)
    }

    /// The learning rate of step `step` of epoch `epoch`, both counted from 0, of `n_steps` an epoch.
    fn rate(&self, epoch: u64, step: u64, n_steps: u64) -> f64 {
        let at = At { epoch, step, n_epochs: self.n_epochs, n_steps };
        self.schedule.rate(self.learning_rate, at)
    }

    /// Steps of one epoch over `n_samples` images.
    pub fn n_steps(&self, n_samples: usize) -> u64 {
        n_samples.div_ceil(self.batch_size) as u64
    }
}

/// What a cohort learns from and is measured on.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// Training images.
    pub train: &'a dyn BatchSource,
    /// Test images.
    pub test: &'a EvalSet,
    /// Training images set aside for choosing.
    pub holdout: Option<&'a EvalSet>,
    /// The teacher of all students.
    pub teacher: Option<&'a dyn Classifier>,
}

/// Where a training writes and how it is stopped.
pub struct Run<'a> {
    /// Receives one record a student and epoch.
    pub metrics: &'a mut MetricsLog,
    /// Where to keep the state for resuming.
    pub checkpoint: &'a Path,
    /// Hash of the resolved spec, kept in the checkpoint.
    pub spec_hash: &'a str,
    /// Least time between two checkpoints at ends of epochs.
    pub checkpoint_every: Duration,
    /// Set by a signal handler to stop after the current step.
    pub stop: &'a AtomicBool,
    /// Steps done, for a progress bar to read.
    pub steps_done: &'a AtomicU64,
}

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// It was stopped; the checkpoint resumes it exactly.
    Interrupted,
}

/// Trains all students of `cohort` from where it stands to the end of the plan.
///
/// Each batch and each teacher forward serves all students, which step in parallel. Data order,
/// crops and dropout are functions of seed, epoch, step and image, so the result is the same bits
/// for any number of threads, alone or in a cohort, interrupted or not.
///
/// # Errors
/// [`Error::Diverged`] when a loss is not finite; [`Error::Config`] when an objective needs a
/// teacher and there is none; whatever data, networks and files report.
pub fn fit(cohort: &mut Cohort, plan: &Plan, data: Data<'_>, run: &mut Run<'_>) -> Result<Outcome> {
    plan.check()?;
    let noise = Stream::new(cohort.seed).at("dropout");
    let n_steps = plan.n_steps(data.train.n_samples());
    let mut saved = Instant::now();
    let teacher = data.teacher.map(|model| Teacher::new(model, data.train, plan.n_epochs));
    while cohort.epoch < plan.n_epochs {
        let epoch = cohort.epoch;
        let order = data.train.order(epoch);
        let started = Instant::now();
        let todo: Vec<_> = order.chunks(plan.batch_size).skip(cohort.step as usize).collect();
        let mut groups = todo
            .chunks(AHEAD)
            .map(|group| prepare_group(group, epoch, (data.train, teacher.as_ref())));
        let mut next = groups.next().transpose()?;
        while let Some(current) = next {
            // The next batches and their teacher forwards are made while the students learn.
            let (stepped, following) = rayon::join(
                || train_group(cohort, &current, (plan, noise, n_steps), run),
                || groups.next().transpose(),
            );
            stepped?;
            next = following?;
            if run.stop.load(Ordering::Relaxed) && cohort.step < n_steps {
                cohort.seconds += started.elapsed().as_secs_f64();
                save(cohort, run)?;
                return Ok(Outcome::Interrupted);
            }
        }
        (cohort.epoch, cohort.step) = (epoch + 1, 0);
        let records = evaluate(cohort, plan, data, n_steps)?;
        let seconds = started.elapsed().as_secs_f64();
        cohort.seconds += seconds;
        let learning_rate = plan.rate(epoch, n_steps.saturating_sub(1), n_steps);
        for record in records {
            let (seed, training) = (cohort.seed, cohort.training.clone());
            let record = EpochRecord { seed, training, learning_rate, seconds, ..record };
            run.metrics.append(&Record::Epoch(record))?;
        }
        let stopped = run.stop.load(Ordering::Relaxed) && cohort.epoch < plan.n_epochs;
        if stopped || cohort.epoch == plan.n_epochs || saved.elapsed() >= run.checkpoint_every {
            save(cohort, run)?;
            saved = Instant::now();
        }
        if stopped {
            return Ok(Outcome::Interrupted);
        }
    }
    Ok(Outcome::Finished)
}

/// Batches that are prepared at once, one thread each: fewer waits than sharing each one's work.
const AHEAD: usize = 4;

fn prepare_group(
    group: &[&[u32]],
    epoch: u64,
    (train, teacher): (&dyn BatchSource, Option<&Teacher<'_>>),
) -> Result<Vec<Prepared>> {
    let one = |indices: &&[u32]| {
        let batch = train.batch(epoch, indices)?;
        let teacher_logits = teacher.map(|t| t.logits(epoch, &batch)).transpose()?;
        Ok(Prepared { batch, teacher_logits })
    };
    group.par_iter().map(one).collect()
}

/// One step for each batch of the group, or fewer when the run is stopped.
fn train_group(
    cohort: &mut Cohort,
    group: &[Prepared],
    (plan, noise, n_steps): (&Plan, Stream, u64),
    run: &Run<'_>,
) -> Result<()> {
    for prepared in group {
        let stream = noise.number(cohort.epoch * n_steps + cohort.step);
        let learning_rate = plan.rate(cohort.epoch, cohort.step, n_steps);
        train_step(cohort, prepared, learning_rate, stream)?;
        cohort.step += 1;
        run.steps_done.fetch_add(1, Ordering::Relaxed);
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
    teacher_logits: Option<Tensor>,
}

/// Adds the teacher's logits to `batch`: one forward serves all students.
///
/// # Errors
/// Whatever the teacher reports.
pub fn prepare(batch: Batch, teacher: Option<&dyn Classifier>) -> Result<Prepared> {
    let teacher_logits = teacher.map(|t| t.forward(&batch.images, Mode::Eval)).transpose()?;
    Ok(Prepared { batch, teacher_logits })
}

/// One step of every student, in parallel.
///
/// # Errors
/// As [`fit`].
pub fn train_step(
    cohort: &mut Cohort,
    prepared: &Prepared,
    learning_rate: f64,
    stream: Stream,
) -> Result<()> {
    let at = (cohort.epoch + 1, cohort.step + 1);
    let teacher_logits = prepared.teacher_logits.as_ref();
    let step = |student: &mut Student| {
        let loss = student.step(&prepared.batch, teacher_logits, learning_rate, stream)?;
        check_finite(loss, student, at)
    };
    // No more at once than there are threads: a thread that waits within one student's operation
    // would begin with another student, until the activations of all are in memory together.
    let mut groups = cohort.students.chunks_mut(rayon::current_num_threads());
    groups.try_for_each(|group| group.par_iter_mut().try_for_each(step))
}

fn save(cohort: &Cohort, run: &mut Run<'_>) -> Result<()> {
    run.metrics.sync()?;
    cohort.save(run.checkpoint, run.spec_hash, run.metrics.n_bytes())
}

fn check_finite(loss: f64, student: &Student, (epoch, step): (u64, u64)) -> Result<()> {
    if loss.is_finite() {
        return Ok(());
    }
    Err(Error::Diverged { what: format!("loss of {}", student.name), epoch, step })
}

/// The records of the epoch that has just ended.
fn evaluate(
    cohort: &mut Cohort,
    plan: &Plan,
    data: Data<'_>,
    n_steps: u64,
) -> Result<Vec<EpochRecord>> {
    let epoch = cohort.epoch;
    let due = epoch.is_multiple_of(plan.eval_every) || epoch == plan.n_epochs;
    let record = |student: &mut Student| {
        let on = |set: &EvalSet| set.evaluate(&*student.model, None);
        let test = if due { Some(on(data.test)?) } else { None };
        let holdout = data.holdout.filter(|_| due).map(on).transpose()?;
        if let Some(test) = &test
            && test.top1 > student.best.top1
        {
            student.best = Best { top1: test.top1, epoch };
        }
        Ok(EpochRecord {
            model: student.name.clone(),
            epoch,
            train_loss: std::mem::take(&mut student.loss_sum) / n_steps as f64,
            test_top1: test.as_ref().map(|t| t.top1),
            test_nll: test.as_ref().map(|t| t.nll),
            holdout_top1: holdout.map(|h| h.top1),
            ..EpochRecord::default()
        })
    };
    // One after another: each has a batch for every thread.
    cohort.students.iter_mut().map(record).collect()
}
