//! The trainings of a shipment, as suites: their files lie beside their results, for `kd run`.

use std::path::Path;

use kd_core::ops::{Normalize, Op};
use kd_core::{Error, Graph, Result, fsx};
use kd_data::{Augment, ResizedCrop};
use kd_suite::{Holdout, Student, Suite, TrainingFile};
use kd_train::{Keep, Plan, Schedule as Rates, SoftTargets};

use crate::Order;
use crate::images::{HELD_OUT, Images};
use crate::networks::Start;
use crate::objectives::{LABELS, are_alike, labels, tried};
use crate::schedule::Schedule;

/// Training of the head alone, and of the whole teacher.
const PROBE: &str = "probe";
const TUNED: &str = "tuned";
/// Least share of a photograph's area that a training image shows: the sets are small, and a twelfth of
/// a shirt is no shirt.
const LEAST_AREA: f32 = 0.35;
/// Learning rates of Adam: of a new head alone, of weights that have learned much, of weights that have
/// learned nothing.
const HEAD_RATE: f64 = 3e-3;
const TUNE_RATE: f64 = 1e-4;
const STUDENT_RATE: f64 = 3e-4;
const FRESH_RATE: f64 = 1e-3;
/// Steps of an epoch of few images: small batches, as no batch norm measures them.
const STEPS_OF_EPOCH: usize = 8;
/// Evaluations of a training, about.
const N_EVALUATIONS: u64 = 15;

/// What all trainings of a shipment share.
pub(crate) struct Suites<'a> {
    pub(crate) order: &'a Order,
    pub(crate) images: &'a Images,
    pub(crate) schedule: Schedule,
    /// The teacher with its head for these classes.
    pub(crate) teacher: &'a Graph,
    /// The teacher's normalization, for students that are not cut from it.
    pub(crate) normalize: Option<Normalize>,
}

impl Suites<'_> {
    /// The teacher: first the new head alone, then all of it from there.
    pub(crate) fn teacher(&self, start: &Start, head: &str) -> Suite {
        let probe = TrainingFile {
            plan: Some(self.plan(self.schedule.probe, HEAD_RATE)),
            augment: Some(Augment::default()),
            freeze: vec![format!("!{head}")],
            ..TrainingFile::new(PROBE, start.model.clone(), vec![labels()])
        };
        let tuned = TrainingFile {
            init: Some(PROBE.into()),
            freeze: norms(&start.graph),
            ..TrainingFile::new(TUNED, start.model.clone(), vec![labels()])
        };
        self.suite("teacher", self.schedule.tune, vec![probe, tuned])
    }

    /// Every student with every objective, briefly.
    pub(crate) fn candidates(&self, students: &[(String, Start)], teacher: &Path) -> Result<Suite> {
        let n_epochs = self.schedule.try_out;
        let taught = |network: &(String, Start)| {
            let objectives = self.objectives(&network.1)?;
            Ok(self.taught(network, n_epochs, teacher, objectives))
        };
        let training = students.iter().map(taught).collect::<Result<_>>()?;
        Ok(self.suite("candidates", n_epochs, training))
    }

    /// The student that was chosen, and the same without a teacher.
    pub(crate) fn last(
        &self,
        network: &(String, Start),
        chosen: &str,
        teacher: &Path,
    ) -> Result<Suite> {
        let objectives = self.objectives(&network.1)?.into_iter();
        let students = objectives.filter(|s| s.name == LABELS || s.name == chosen).collect();
        let n_epochs = self.schedule.last;
        let training = self.taught(network, n_epochs, teacher, students);
        Ok(self.suite("student", n_epochs, vec![training]))
    }

    fn objectives(&self, start: &Start) -> Result<Vec<Student>> {
        Ok(tried(are_alike(&start.graph, self.teacher)?))
    }

    fn taught(
        &self,
        (name, start): &(String, Start),
        n_epochs: u64,
        teacher: &Path,
        students: Vec<Student>,
    ) -> TrainingFile {
        let is_fresh = !start.model.as_dyn().is_in_a_file();
        let learning_rate = if is_fresh { FRESH_RATE } else { STUDENT_RATE };
        let freeze = if is_fresh { Vec::new() } else { norms(&start.graph) };
        TrainingFile {
            freeze,
            plan: Some(self.plan(n_epochs, learning_rate)),
            teacher_weights: Some(teacher.into()),
            soft_targets: Some(SoftTargets::default()),
            ..TrainingFile::new(name, start.model.clone(), students)
        }
    }

    fn plan(&self, n_epochs: u64, learning_rate: f64) -> Plan {
        let batch_size = (self.images.train.len() / STEPS_OF_EPOCH).clamp(2, 32);
        Plan {
            schedule: Rates::Cosine { warmup: 0 },
            eval_every: n_epochs.div_ceil(N_EVALUATIONS),
            keep: Keep::LastNearBest,
            ..Plan::new(n_epochs, batch_size, learning_rate)
        }
    }

    fn suite(&self, name: &str, n_epochs: u64, training: Vec<TrainingFile>) -> Suite {
        let n_views = Some(self.schedule.views as usize);
        let crop = ResizedCrop { scale: [LEAST_AREA, 1.0], n_views, ..ResizedCrop::default() };
        Suite {
            normalize: self.normalize.clone(),
            holdout: Holdout::Share(HELD_OUT),
            augment: Augment {
                resized_crop: Some(crop),
                flip: self.order.flip,
                ..Augment::default()
            },
            ..Suite::new(name, self.images.data.clone(), self.plan(n_epochs, TUNE_RATE), training)
        }
    }
}

/// Writes `suite` as a file that `kd run` takes.
pub(crate) fn write(suite: &Suite, path: &Path) -> Result<()> {
    let text = toml::to_string(suite).map_err(|e| Error::config("suite", e.to_string()))?;
    fsx::write_atomic(path, text.as_bytes())
}

/// What stays of a network that has learned much: its batch norms, since a batch of a few photographs
/// measures badly what many have told them.
fn norms(graph: &Graph) -> Vec<String> {
    let has_norms = graph.nodes.iter().any(|node| matches!(node.op, Op::BatchNorm(_)));
    if has_norms { vec!["op:batch-norm".into()] } else { Vec::new() }
}
