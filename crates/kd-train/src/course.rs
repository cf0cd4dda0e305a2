//! What a training is given, and what stays the same from its first step to its last.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kd_core::{BatchSource, Classifier, Error, Result, Stream};

use crate::cohort::Cohort;
use crate::evaluate::EvalSet;
use crate::metrics_log::MetricsLog;
use crate::plan::Plan;
use crate::progress::Counters;
use crate::soft_targets::SoftTargetStore;
use crate::teacher::Teacher;

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
    pub(crate) teacher: Option<Teacher<'a>>,
    pub(crate) noise: Stream,
}

impl<'a> Course<'a> {
    pub(crate) fn new(plan: &'a Plan, data: Data<'a>, cohort: &Cohort) -> Result<Self> {
        plan.check()?;
        cohort.check(data.teacher)?;
        if plan.needs_holdout() && data.holdout.is_none() {
            let reason = "an epoch is chosen by held-out images, and none are set aside";
            return Err(Error::config("holdout", reason));
        }
        let n_steps = plan.n_steps(data.train.n_samples());
        let store = data.soft_targets.as_ref();
        let taps = cohort.teacher_taps();
        let remember = |model| Teacher::new(model, data.train, plan.n_epochs, store, taps);
        let teacher = data.teacher.map(remember).transpose()?;
        Ok(Self { plan, data, n_steps, teacher, noise: Stream::new(cohort.seed).at("dropout") })
    }
}
