//! One training of a run: build or resume, fit, evaluate, record, keep the models.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kd_adv::{AdversarialTraining, AttackSpec};
use kd_core::ops::Normalize;
use kd_core::record::Record;
use kd_core::{Classifier, Error, Perturb, Result, Stream, checkpoint};
use kd_models::Weights;
use kd_train::{
    Cohort, Counters, Data, EvalSet, MetricsLog, Optimizer, Outcome, Run, SoftTargetStore,
    SoftTargets, Student, check_mixed, fit,
};

use super::context::{Context, wanted};
use super::finish::finish;
use super::first;
use super::images::Sets;
use super::meeting::{Place, meet};
use super::progress::Progress;
use super::setting::{Setting, device_name};
use super::teacher::{self, Ready};
use super::tuning;
use crate::suite::{StudentSpec, Teacher, TrainingSpec};
use crate::weights::{self, Contents};

/// Least time between two checkpoints at ends of epochs, and to one within an epoch.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(600);

/// Refuses a training that these images, its network or its teacher do not allow: before anything
/// is written, and not when its turn comes after hours.
pub(crate) fn check(
    training: &TrainingSpec,
    normalize: &Normalize,
    sets: &Sets,
    setting: &Setting,
) -> Result<()> {
    if training.plan.needs_holdout() && sets.holdout.is_none() {
        return Err(no_holdout("keep", "an epoch is chosen by"));
    }
    let mut losses = training.student.iter().flat_map(StudentSpec::objectives);
    let begins_equal = training.init.is_some() || training.init_weights.is_some();
    if begins_equal && losses.any(|loss| loss.as_dyn().needs_peers()) {
        let reason = format!(
            "students of `{}` learn from each other, and would all begin with the same weights",
            training.name
        );
        return Err(Error::config("init", reason));
    }
    if training.choose.is_some() && sets.holdout.is_none() {
        return Err(no_holdout("choose", "candidates are compared on"));
    }
    let train = sets.train(training, 0)?;
    training.soft_targets.map(|targets| targets.n_views(&*train)).transpose()?;
    for student in training.student.iter().filter(|_| train.mixes()) {
        let is_perturbed = student.perturb.is_some();
        let mut losses = student.objectives().iter();
        losses.try_for_each(|loss| check_mixed(&student.name, loss.as_dyn(), is_perturbed))?;
    }
    let drawn = (Stream::new(0), &setting.device);
    let mut network = weights::network(&training.model, sets.shape(), normalize, drawn)?;
    tuning::freeze(&mut network, &training.freeze)?;
    tuning::factors(&network, &training.learning_rate_of)?;
    if let Some(file) = &training.init_weights {
        let (_, note) = first::of_file(file, &training.model, &network, normalize)?;
        eprintln!("{}: {note}", training.name);
    }
    teacher::check(training, normalize, sets, setting)
}

/// Refuses held-out images that are not there.
pub(super) fn no_holdout(field: &str, what: &str) -> Error {
    let reason = format!(
        "{what} images set aside beside those to test on: give `holdout`, and a data set of two parts, as \
         `kd data split` makes it"
    );
    Error::config(field, reason)
}

/// What is in the files that `training` begins with, those of the first weights and of the teachers.
pub(crate) fn contents(
    training: &TrainingSpec,
    normalize: &Normalize,
    sets: &Sets,
) -> Result<Vec<(PathBuf, Contents)>> {
    let mut all = Vec::new();
    if let Some(file) = &training.init_weights {
        let wanted = first::wanted(file, &training.model, sets.shape().0, normalize);
        all.push((file.path.clone(), weights::contents(&file.path, &wanted)?));
    }
    for member in training.teacher.iter().flat_map(Teacher::members) {
        if let Teacher::Weights { path, model, naming, .. } = member {
            let wanted = wanted((model.as_ref(), Some(naming)), (sets, normalize));
            all.push((path.clone(), weights::contents(path, &wanted)?));
        }
    }
    Ok(all)
}

/// Runs or resumes `training` with `seed`; returns its wall time in seconds, or nothing when it
/// was interrupted.
pub(crate) fn run(
    context: &Context<'_>,
    training: &TrainingSpec,
    seed: u64,
    (records, log): (&[Record], &mut MetricsLog),
) -> Result<Option<f64>> {
    let (test, done) = (Some(&context.sets.test), finished(records, training, seed));
    let task = Task { training, seed, may_diverge: false, test, done };
    work(context, &task, log, |cohort, data, log| finish(context, training, cohort, (data, log)))
}

/// A cohort that is to be trained.
pub(super) struct Task<'a> {
    pub(super) training: &'a TrainingSpec,
    pub(super) seed: u64,
    /// Whether it goes on without students that diverge.
    pub(super) may_diverge: bool,
    /// What it is measured on from epoch to epoch.
    pub(super) test: Option<&'a EvalSet>,
    /// Its wall time in seconds, where the records say that it is done.
    pub(super) done: Option<f64>,
}

/// Trains a cohort from its state, if it has one, and does `finish` when it has made its last step;
/// returns its wall time in seconds, or nothing when it was interrupted.
pub(super) fn work(
    context: &Context<'_>,
    task: &Task<'_>,
    log: &mut MetricsLog,
    finish: impl FnOnce(&Cohort, &Data<'_>, &mut MetricsLog) -> Result<()>,
) -> Result<Option<f64>> {
    let state = context.folder.state(&task.training.name, task.seed);
    let mut cohort = cohort(context, task)?;
    let done = match cohort.ranks.rank() {
        0 => begin(context, task, (&mut cohort, &state), log)?,
        _ => join(context, (&mut cohort, &state))?,
    };
    match done {
        Some(seconds) => Ok(Some(seconds)),
        None => learn(context, task, (cohort, &state), log, finish),
    }
}

/// The cohort before its first step.
fn cohort(context: &Context<'_>, task: &Task<'_>) -> Result<Cohort> {
    let Task { training, seed, .. } = *task;
    let first = first::weights(context, training, seed)?;
    let students = students(context, training, seed, first.as_ref())?;
    let mut cohort = Cohort::new(&training.name, seed, students);
    cohort.may_diverge = task.may_diverge;
    cohort.ranks = context.setting.ranks.clone();
    Ok(cohort)
}

/// Trains a cohort on from where it is; the process that writes does `finish` then, and removes the state.
fn learn(
    context: &Context<'_>,
    task: &Task<'_>,
    (mut cohort, state): (Cohort, &Path),
    log: &mut MetricsLog,
    finish: impl FnOnce(&Cohort, &Data<'_>, &mut MetricsLog) -> Result<()>,
) -> Result<Option<f64>> {
    let Task { training, seed, .. } = *task;
    let teacher = teacher::ready(context, training, seed)?;
    let train = context.sets.train(training, seed)?;
    let kept = soft_targets(context, training, teacher.as_ref())?;
    let soft_targets = kept.as_ref().map(|(targets, folder, identity)| SoftTargetStore {
        targets: *targets,
        folder,
        identity,
    });
    let data = Data {
        train: &*train,
        test: task.test,
        holdout: context.sets.holdout.as_ref(),
        teacher: teacher.as_ref().map(Ready::source),
        soft_targets,
    };
    let unseen = Counters::default();
    let leads = cohort.ranks.rank() == 0;
    let progress = leads.then(|| progress(context, task, &cohort, train.n_samples()));
    let mut run = Run {
        metrics: log,
        checkpoint: state,
        spec_hash: context.spec_hash,
        checkpoint_every: CHECKPOINT_EVERY,
        checkpoint_within: CHECKPOINT_WITHIN,
        stop: &context.setting.stop,
        counters: progress.as_ref().map_or(&unseen, |shown| &shown.counters),
    };
    if fit(&mut cohort, &training.plan, data, &mut run)? == Outcome::Interrupted {
        return Ok(None);
    }
    drop(progress);
    if leads {
        if let Some(sharing) = cohort.sharing() {
            eprintln!("{}: each of {} processes: {sharing}", training.name, cohort.ranks.n_ranks());
        }
        finish(&cohort, &data, log)?;
        checkpoint::remove(state)?;
    }
    Ok(Some(cohort.seconds()))
}

/// Brings `cohort` to its last state, or writes its first one, on the process that writes; returns its
/// wall time in seconds where it is done.
fn begin(
    context: &Context<'_>,
    task: &Task<'_>,
    (cohort, state): (&mut Cohort, &Path),
    log: &mut MetricsLog,
) -> Result<Option<f64>> {
    match (cohort.resume(state, context.spec_hash, &context.setting.device)?, task.done) {
        (Some(n_bytes), _) => {
            let (epoch, step) = cohort.place();
            eprintln!("{}: goes on after epoch {epoch}, step {step}", task.training.name);
            log.truncate(n_bytes)?;
        }
        (None, Some(seconds)) => {
            // A process that was killed while it removed the state left a part of it.
            checkpoint::remove(state)?;
            meet(context, Place::Done)?;
            return Ok(Some(seconds));
        }
        (None, None) => cohort.save(state, context.spec_hash, log.n_bytes())?,
    }
    meet(context, Place::Begin)?;
    Ok(None)
}

/// The same on another process, from the state that the first one has written.
fn join(context: &Context<'_>, (cohort, state): (&mut Cohort, &Path)) -> Result<Option<f64>> {
    if meet(context, Place::Begin)? == Place::Done {
        return Ok(Some(0.0));
    }
    if cohort.resume(state, context.spec_hash, &context.setting.device)?.is_none() {
        let reason = "all processes need this folder, on a file system that they share";
        return Err(Error::Folder { path: state.into(), reason: reason.into() });
    }
    Ok(None)
}

/// How far `cohort` is in its steps, for the terminal.
fn progress(context: &Context<'_>, task: &Task<'_>, cohort: &Cohort, n_samples: usize) -> Progress {
    let Task { training, seed, .. } = task;
    let n_steps = training.plan.n_steps(n_samples);
    let total = training.plan.n_epochs.saturating_mul(n_steps);
    let title = context.titled(training.name.clone(), *seed);
    Progress::start(title, cohort.steps_done(n_steps), total)
}

/// The wall time of a training that the log says is complete.
fn finished(records: &[Record], training: &TrainingSpec, seed: u64) -> Option<f64> {
    records.iter().find_map(|record| match record {
        Record::Final(r) if r.id.training == training.name && r.seed == seed => Some(r.seconds),
        _ => None,
    })
}

/// The students before their first step: the values `first`, else the same random ones, so that they
/// differ by their objectives alone. Those that learn from each other have different ones: equal networks would stay
/// equal, and say nothing new.
pub(super) fn students(
    context: &Context<'_>,
    training: &TrainingSpec,
    seed: u64,
    first: Option<&Weights>,
) -> Result<Vec<Student>> {
    let mutual = |spec: &&StudentSpec| spec.loss.as_dyn().needs_peers();
    let build = |(place, spec): (usize, &StudentSpec)| {
        let init = Stream::new(seed).at("init");
        let n_before = training.student[..place].iter().filter(mutual).count() as u64;
        let init = if mutual(&spec) && n_before > 0 { init.number(n_before) } else { init };
        let mut model = context.network(&training.model, init)?;
        first.map_or(Ok(()), |first| model.params().load(first))?;
        tuning::freeze(&mut model, &training.freeze)?;
        let factors = tuning::factors(&model, &training.learning_rate_of)?;
        let optimizer = training.plan.optimizer.clone();
        let own = Optimizer::new(optimizer.clone(), model.params()).with_factors(factors)?;
        let mut student = Student::new(&spec.name, model.into(), spec.loss.clone(), optimizer);
        student.optimizer = Box::new(own);
        student.perturb = spec.perturb.as_ref().map(perturb).transpose()?;
        Ok(student)
    };
    training.student.iter().enumerate().map(build).collect()
}

fn perturb(attack: &AttackSpec) -> Result<Box<dyn Perturb>> {
    Ok(Box::new(AdversarialTraining::new(attack.clone())?))
}

/// Where the soft targets of `training` are kept: beside the run's folder, for other runs on the
/// same images; and what they depend on besides the teacher's weights. Versions of images that can
/// be numbered are the same for all seeds.
fn soft_targets(
    context: &Context<'_>,
    training: &TrainingSpec,
    teacher: Option<&Ready>,
) -> Result<Option<(SoftTargets, PathBuf, String)>> {
    let Some(targets) = training.soft_targets else { return Ok(None) };
    let described = teacher.zip(training.teacher.as_ref()).map(|(ready, of)| ready.description(of));
    let spec = context.spec;
    let identity = serde_json::json!({
        "data": spec.data,
        "files": spec.files,
        "n_train": training.n_train.or(spec.n_train),
        "holdout": spec.holdout,
        "omit_class": training.omit_class,
        "transfer": training.transfer,
        "augment": training.augment,
        "network": described,
        "conv_sums": spec.conv_sums,
        "device": device_name(&context.setting.device),
    });
    let folder = context.folder.path().with_file_name("soft-targets");
    Ok(Some((targets, folder, identity.to_string())))
}
