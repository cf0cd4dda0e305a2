//! Students that are trained in lockstep, and their checkpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use kd_core::{BatchSource, Classifier, Collective, Error, Result, Single, checkpoint};
use serde::{Deserialize, Serialize};

use crate::choice::{Choice, Seen};
use crate::losses::Loss;
use crate::own::Own;
use crate::progress::Clock;
use crate::sharing::Sharing;
use crate::student::{Best, Student};
use crate::tally::Tally;
use crate::teacher::TeacherSource;

/// Students that share data and teacher, and how far they are.
pub struct Cohort {
    /// Name of the training, such as `student30`.
    pub training: String,
    /// Seed of this repetition.
    pub seed: u64,
    /// The students.
    pub students: Vec<Student>,
    /// Whether it goes on without a student whose loss is not finite; else that is an error.
    pub may_diverge: bool,
    /// This process, and those that train the same students with it ([`crate::Plan::shards`]).
    pub ranks: Arc<dyn Collective>,
    /// Epochs done.
    pub(crate) epoch: u64,
    /// Steps done in the current epoch.
    pub(crate) step: u64,
    /// Wall time of the epochs done.
    pub(crate) seconds: f64,
    /// Wall time of the current epoch.
    pub(crate) clock: Clock,
    /// Rows of the teacher's logits that the students learned from, and those computed for it.
    pub(crate) teacher_rows: (u64, u64),
    /// What it costs this process to share the training.
    pub(crate) sharing: Option<Sharing>,
}

/// All of a cohort's state but its tensors.
#[derive(Debug, Serialize, Deserialize)]
struct CohortState {
    spec_hash: String,
    training: String,
    seed: u64,
    epoch: u64,
    step: u64,
    seconds: f64,
    clock: Clock,
    teacher_rows: (u64, u64),
    metrics_bytes: u64,
    students: Vec<StudentState>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StudentState {
    name: String,
    n_steps: u64,
    #[serde(default)]
    n_images: u64,
    epoch: Tally,
    point: Tally,
    best: Best,
    #[serde(default)]
    chosen: Seen,
    #[serde(default)]
    rests: bool,
    #[serde(default)]
    diverged: bool,
}

impl Cohort {
    /// A cohort before its first epoch.
    pub fn new(training: impl Into<String>, seed: u64, students: Vec<Student>) -> Self {
        Self {
            training: training.into(),
            seed,
            students,
            may_diverge: false,
            ranks: Arc::new(Single),
            epoch: 0,
            step: 0,
            seconds: 0.0,
            clock: Clock::default(),
            teacher_rows: (0, 0),
            sharing: None,
        }
    }

    /// Names of the teacher's parts whose outputs some student's objective needs.
    pub fn teacher_taps(&self) -> Vec<String> {
        let taps = self.students.iter().flat_map(|student| student.loss.teacher_taps());
        taps.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Versions of each image that some objective looks at in a step.
    pub fn n_views(&self) -> usize {
        self.students.iter().map(|student| student.loss.n_views()).max().unwrap_or(1)
    }

    /// A student that speaks for the frozen part of all, if they need nothing of what comes before its
    /// end.
    pub(crate) fn with_trunk(&self) -> Option<&Student> {
        let goes_on = |Student { perturb, loss, .. }: &Student| {
            perturb.is_none() && loss.taps().is_empty() && loss.n_views() == 1
        };
        self.students.first().filter(|_| self.students.iter().all(goes_on))
    }

    /// Refuses objectives whose settings are wrong, or that need what is not there.
    ///
    /// # Errors
    /// [`Error::Config`], naming the student or the setting.
    pub(crate) fn check(
        &self,
        teacher: Option<TeacherSource<'_>>,
        train: &dyn BatchSource,
    ) -> Result<()> {
        let mutual = || self.students.iter().filter(|student| student.loss.needs_peers());
        if let (Some(student), 1) = (mutual().next(), mutual().count()) {
            let reason =
                "the objective learns from other students with this objective, and there is none";
            return Err(Error::config(&student.name, reason));
        }
        for student in &self.students {
            let Student { name, model, loss, .. } = student;
            loss.check()?;
            if train.mixes() {
                check_mixed(name, &**loss, student.perturb.is_some())?;
            }
            check_views(student, train.n_views())?;
            check_taps(name, "student", &loss.taps(), &**model)?;
            match teacher {
                Some(TeacherSource::Network(teacher)) => {
                    check_taps(name, "teacher", &loss.teacher_taps(), teacher)?;
                }
                Some(TeacherSource::Logits(_)) if !loss.teacher_taps().is_empty() => {
                    let reason =
                        "the objective needs parts of a teacher, and has logits of it alone";
                    return Err(Error::config(name, reason));
                }
                Some(TeacherSource::Logits(_)) => {}
                None if loss.needs_teacher() => {
                    let reason = "the objective needs a teacher, and there is none";
                    return Err(Error::config(name, reason));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Whether no student has a step to make any more.
    pub(crate) fn is_done(&self, n_epochs: u64) -> bool {
        self.epoch >= n_epochs || self.students.iter().all(|student| student.rests)
    }

    /// The students that still learn.
    pub(crate) fn learning(&mut self) -> impl Iterator<Item = &mut Student> {
        self.students.iter_mut().filter(|student| !student.rests)
    }

    /// Wall time spent in training so far, in seconds.
    pub fn seconds(&self) -> f64 {
        self.seconds + self.clock.seconds()
    }

    /// Rows of the teacher's logits that the students learned from, and how many of them the
    /// teacher computed; the others were remembered or read.
    pub fn teacher_rows(&self) -> (u64, u64) {
        self.teacher_rows
    }

    /// What it has cost this process to share the training, where several do.
    pub fn sharing(&self) -> Option<&Sharing> {
        self.sharing.as_ref()
    }

    /// Epochs done, and steps of the next one.
    pub fn place(&self) -> (u64, u64) {
        (self.epoch, self.step)
    }

    /// Steps done so far, for `n_steps` steps an epoch.
    pub fn steps_done(&self, n_steps: u64) -> u64 {
        self.epoch * n_steps + self.step
    }

    /// Writes a checkpoint from which [`Cohort::resume`] goes on with the same bits.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path, spec_hash: &str, metrics_bytes: u64) -> Result<()> {
        let mut tensors = BTreeMap::new();
        for student in &self.students {
            let own = |part: &str, name: &str| format!("{}/{part}/{name}", student.name);
            let params = student.model.params().tensors();
            tensors.extend(params.into_iter().map(|(name, t)| (own("model", &name), t)));
            let state = student.optimizer.tensors()?;
            tensors.extend(state.into_iter().map(|(name, t)| (own("optimizer", &name), t)));
            let learned = student.own.as_ref().map(Own::tensors).transpose()?.unwrap_or_default();
            tensors.extend(learned.into_iter().map(|(name, t)| (own("loss", &name), t)));
            let chosen = &student.choice.weights;
            tensors.extend(chosen.iter().map(|(name, t)| (own("chosen", name), t.clone())));
        }
        let students = self.students.iter().map(|student| StudentState {
            name: student.name.clone(),
            n_steps: student.n_steps,
            n_images: student.n_images,
            epoch: student.epoch,
            point: student.point,
            best: student.best,
            chosen: student.choice.seen,
            rests: student.rests,
            diverged: student.diverged,
        });
        let state = CohortState {
            spec_hash: spec_hash.into(),
            training: self.training.clone(),
            seed: self.seed,
            epoch: self.epoch,
            step: self.step,
            seconds: self.seconds,
            clock: self.clock,
            teacher_rows: self.teacher_rows,
            metrics_bytes,
            students: students.collect(),
        };
        checkpoint::save(path, &tensors, &state)
    }

    /// Takes up the checkpoint `path` if there is one of this training; returns the size that the
    /// metrics log had then.
    ///
    /// # Errors
    /// [`Error::Config`] for a checkpoint of another spec; damaged files.
    pub fn resume(&mut self, path: &Path, spec_hash: &str, device: &Device) -> Result<Option<u64>> {
        let (tensors, state) = match checkpoint::load::<CohortState>(path, device) {
            Err(Error::Missing { .. }) => return Ok(None),
            other => other?,
        };
        let names = |state: &CohortState| -> Vec<String> {
            state.students.iter().map(|s| s.name.clone()).collect()
        };
        let own: Vec<String> = self.students.iter().map(|s| s.name.clone()).collect();
        let same = state.spec_hash == spec_hash
            && (state.training == self.training && state.seed == self.seed)
            && names(&state) == own;
        if !same {
            let reason = format!("{} holds another training; remove it", path.display());
            return Err(Error::config("checkpoint", reason));
        }
        for (student, saved) in self.students.iter_mut().zip(&state.students) {
            student.model.params().load(&below(&tensors, &format!("{}/model/", saved.name)))?;
            let optimizer = below(&tensors, &format!("{}/optimizer/", saved.name));
            student.optimizer.load(&optimizer)?;
            let learned = below(&tensors, &format!("{}/loss/", saved.name));
            student.own = Own::load(&learned, student.own_optimizer.clone())?;
            (student.n_steps, student.n_images) = (saved.n_steps, saved.n_images);
            (student.epoch, student.point) = (saved.epoch, saved.point);
            (student.best, student.rests) = (saved.best, saved.rests);
            student.diverged = saved.diverged;
            let weights = below(&tensors, &format!("{}/chosen/", saved.name));
            student.choice = Choice { seen: saved.chosen, weights };
        }
        (self.epoch, self.step) = (state.epoch, state.step);
        (self.seconds, self.clock) = (state.seconds, state.clock);
        self.teacher_rows = state.teacher_rows;
        Ok(Some(state.metrics_bytes))
    }
}

/// Refuses a student of mixed images ([`kd_core::BatchSource::mixes`]) that looks at labels, which are not
/// mixed.
///
/// # Errors
/// [`Error::Config`].
pub fn check_mixed(student: &str, loss: &dyn Loss, is_perturbed: bool) -> Result<()> {
    if !loss.needs_labels() && !is_perturbed {
        return Ok(());
    }
    let reason = "mixup mixes images and no labels, which this student looks at; give it the loss `distill` \
                  with alpha = 1 and no `perturb`, or leave mixup out";
    Err(Error::config(student, reason))
}

/// Refuses an objective that looks at several versions of an image where there are not so many.
fn check_views(student: &Student, n_versions: Option<usize>) -> Result<()> {
    let n_views = student.loss.n_views();
    if n_views > 1 && student.perturb.is_some() {
        let reason =
            "the objective looks at several versions of an image, of which `perturb` changes one";
        return Err(Error::config(&student.name, reason));
    }
    if n_versions.is_some_and(|n_versions| n_versions < n_views) {
        let reason = format!(
            "the objective looks at {n_views} versions of each image, and there are not so many; \
             add random crops or flips to `augment`"
        );
        return Err(Error::config(&student.name, reason));
    }
    Ok(())
}

fn check_taps(name: &str, whose: &str, taps: &[String], model: &dyn Classifier) -> Result<()> {
    let known = model.tap_names();
    let Some(tap) = taps.iter().find(|tap| !known.contains(tap)) else { return Ok(()) };
    let parts = if known.is_empty() { "none".into() } else { known.join(", ") };
    let reason = format!("the objective needs the {whose}'s part `{tap}`; it has {parts}");
    Err(Error::config(name, reason))
}

/// The tensors whose name begins with `prefix`, without it.
fn below(tensors: &BTreeMap<String, Tensor>, prefix: &str) -> BTreeMap<String, Tensor> {
    let strip = |(name, tensor): (&String, &Tensor)| {
        name.strip_prefix(prefix).map(|rest| (rest.to_owned(), tensor.clone()))
    };
    tensors.iter().filter_map(strip).collect()
}
