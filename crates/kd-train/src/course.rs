//! What a training is given, and what stays the same from its first step to its last.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use candle_core::{DType, Tensor};
use kd_core::{Batch, BatchSource, Error, Result, Shards, Stream};
use rayon::prelude::*;

use crate::cohort::Cohort;
use crate::evaluate::EvalSet;
use crate::metrics_log::MetricsLog;
use crate::plan::Plan;
use crate::prepared::Prepared;
use crate::progress::Counters;
use crate::shards;
use crate::soft_targets::SoftTargetStore;
use crate::teacher::{Said, Teacher, TeacherSource};
use crate::trunk::Trunk;

/// What a cohort learns from and is measured on.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// Training images. A batch may have fewer images than were asked for, where some cannot be
    /// read; one without any is passed over.
    pub train: &'a dyn BatchSource,
    /// Test images; none where something is chosen that they must not decide.
    pub test: Option<&'a EvalSet>,
    /// Training images set aside for choosing.
    pub holdout: Option<&'a EvalSet>,
    /// The teacher of all students.
    pub teacher: Option<TeacherSource<'a>>,
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
    pub(crate) trunk: Option<Trunk<'a>>,
    /// Test images and held-out ones, as the frozen part sees them, where there is one.
    pub(crate) seen: [Option<EvalSet>; 2],
    pub(crate) noise: Stream,
    /// How batches are cut, where they are.
    pub(crate) shards: Option<Shards>,
    /// Versions of each image that some objective looks at in a step.
    n_views: usize,
}

impl<'a> Course<'a> {
    pub(crate) fn new(plan: &'a Plan, data: Data<'a>, cohort: &Cohort) -> Result<Self> {
        plan.check()?;
        cohort.check(data.teacher, data.train)?;
        if plan.needs_holdout() && data.holdout.is_none() {
            let reason = "an epoch is chosen by held-out images, and none are set aside";
            return Err(Error::config("holdout", reason));
        }
        if plan.eval_every_steps.is_some() && data.test.is_none() {
            let reason = "a learning curve needs test images, and there are none";
            return Err(Error::config("eval_every_steps", reason));
        }
        let shards = shards::of(plan, (data.train, data.soft_targets.is_some()), cohort)?;
        let n_steps = plan.n_steps(data.train.n_samples());
        let store = data.soft_targets.as_ref();
        let taps = cohort.teacher_taps();
        let remember = |from| Teacher::new(from, data.train, plan.n_epochs, store, &taps);
        let teacher = data.teacher.map(remember).transpose()?;
        let trunk = match shards {
            Some(_) => None,
            None => Trunk::of(cohort, data.train, plan.n_epochs)?,
        };
        let see = |set: Option<&EvalSet>| match (&trunk, set) {
            (Some(trunk), Some(set)) => trunk.seen(set),
            _ => Ok(None),
        };
        let seen = [see(data.test)?, see(data.holdout)?];
        let noise = Stream::new(cohort.seed).at("dropout");
        let n_views = cohort.n_views();
        Ok(Self { plan, data, n_steps, teacher, trunk, seen, noise, shards, n_views })
    }

    /// The images that students are judged by.
    pub(crate) fn test(&self) -> Option<&EvalSet> {
        self.seen[0].as_ref().or(self.data.test)
    }

    /// The images that were set aside.
    pub(crate) fn holdout(&self) -> Option<&EvalSet> {
        self.seen[1].as_ref().or(self.data.holdout)
    }

    /// Images that step `step` of an epoch asks for.
    pub(crate) fn n_rows(&self, step: u64) -> usize {
        let n_before = step as usize * self.plan.batch_size;
        self.data.train.n_samples().saturating_sub(n_before).min(self.plan.batch_size)
    }

    /// Whether this process, or one that trains with it, was told to stop.
    pub(crate) fn is_stopped(&self, run: &Run<'_>) -> Result<bool> {
        self.any(run.stop.load(Ordering::Relaxed))
    }

    /// Whether this process, or one that trains with it, says so.
    pub(crate) fn any(&self, says: bool) -> Result<bool> {
        self.shards.as_ref().map_or(Ok(says), |shards| shards.any(says))
    }

    /// The images `indices` in the shards of this process, as [`Course::prepare`] makes each.
    pub(crate) fn prepare_shards(
        &self,
        shards: &Shards,
        epoch: u64,
        indices: &[u32],
    ) -> Result<Vec<Prepared>> {
        let shard = |shard: usize| {
            let own = &indices[shards.rows(shard, indices.len())];
            match own {
                [] => Ok(Prepared::plain(self.no_images()?, self.data.train.n_samples())),
                _ => self.prepare(epoch, self.data.train.batch(epoch, own)?),
            }
        };
        shards.own().into_par_iter().map(shard).collect()
    }

    fn no_images(&self) -> Result<Batch> {
        let [channels, height, width] = self.data.train.image_shape();
        let device = self.data.train.device();
        let images = Tensor::zeros((0, channels, height, width), DType::F32, &device)?;
        let labels = Tensor::zeros(0, DType::U32, &device)?;
        Ok(Batch { images, labels, indices: Vec::new() })
    }

    /// `batch`, which epoch `epoch` shows, with what teacher and frozen part make of it.
    pub(crate) fn prepare(&self, epoch: u64, batch: Batch) -> Result<Prepared> {
        let n_samples = self.data.train.n_samples();
        if batch.indices.is_empty() {
            return Ok(Prepared::plain(batch, n_samples));
        }
        let said = self.teacher.as_ref().map(|teacher| teacher.say(epoch, &batch)).transpose()?;
        let features =
            self.trunk.as_ref().map(|trunk| trunk.features(epoch, &batch)).transpose()?;
        let others = self.other_views(epoch, &batch.indices)?;
        Ok(Prepared { said, others, features, ..Prepared::plain(batch, n_samples) })
    }

    /// The other versions that objectives look at: those that as many later epochs would show.
    fn other_views(&self, epoch: u64, indices: &[u32]) -> Result<Vec<(Tensor, Option<Said>)>> {
        let n_epochs = self.plan.n_epochs;
        // Versions that come again and again must not come again here.
        let n_versions = self.data.train.n_views().map_or(u64::MAX, |n| n as u64);
        let apart = if n_epochs.is_multiple_of(n_versions) { n_epochs + 1 } else { n_epochs };
        let view = |i: usize| {
            let epoch = epoch + i as u64 * apart;
            let batch = self.data.train.batch(epoch, indices)?;
            let said = self.teacher.as_ref().map(|teacher| teacher.say(epoch, &batch));
            Ok((batch.images, said.transpose()?))
        };
        (1..self.n_views).map(view).collect()
    }

    /// The same for images of which teacher and frozen part have made it before: these are not needed
    /// then.
    pub(crate) fn recall(&self, epoch: u64, indices: &[u32]) -> Result<Option<Prepared>> {
        let Some(trunk) = &self.trunk else { return Ok(None) };
        let Some((features, labels)) = trunk.recall(epoch, indices)? else { return Ok(None) };
        let said = match &self.teacher {
            Some(teacher) => match teacher.recall(epoch, indices)? {
                Some(said) => Some(said),
                None => return Ok(None),
            },
            None => None,
        };
        let [channels, height, width] = self.data.train.image_shape();
        let images = Tensor::zeros((0, channels, height, width), DType::F32, features.device())?;
        let batch = Batch { images, labels, indices: indices.to_vec() };
        let n_samples = self.data.train.n_samples();
        let features = Some(features);
        Ok(Some(Prepared { said, features, ..Prepared::plain(batch, n_samples) }))
    }
}
