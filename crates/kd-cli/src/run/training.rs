//! One training of a run: build or resume, fit, evaluate, record, keep the models.

use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::Device;
use kd_adv::{AdversarialTraining, AttackSpec, Victim};
use kd_core::ops::Normalize;
use kd_core::record::Record;
use kd_core::{Classifier, Net, Perturb, Result, Stream, checkpoint};
use kd_models::ModelSpec;
use kd_train::{
    Cohort, Data, MetricsLog, Outcome, Run, SoftTargetStore, SoftTargets, Student, fit,
};

use super::finish::finish;
use super::folder::Folder;
use super::progress::Progress;
use super::{Sets, Setting};
use crate::suite::{Source, Spec, Teacher, TrainingSpec};
use crate::weights::{self, Loaded, Wanted};

/// Least time between two checkpoints at ends of epochs, and to one within an epoch.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
const CHECKPOINT_WITHIN: Duration = Duration::from_secs(600);

/// What all trainings of a run share.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) sets: &'a Sets,
    pub(crate) setting: &'a Setting,
    pub(crate) folder: &'a Folder,
}

impl Context<'_> {
    /// `network` under attack.
    pub(crate) fn victim<'n>(&self, network: &'n dyn Classifier) -> Result<Victim<'n>> {
        Victim::new(network, self.sets.shape().0, &self.setting.device)
    }

    /// A network of `model` before its first step, with the run's normalization inside.
    pub(crate) fn network(&self, model: &ModelSpec, stream: Stream) -> Result<Net> {
        let drawn = (stream, &self.setting.device);
        weights::network(model, self.sets.shape(), &self.spec.normalize, drawn)
    }

    /// The network that `source` ended with.
    pub(crate) fn trained(&self, source: &Source, seed: u64) -> Result<Net> {
        let model = &self.spec.training(&source.training)?.model;
        let path = self.folder.checkpoint(&source.training, seed, &source.model);
        let (sets, normalize) = (self.sets, &self.spec.normalize);
        Ok(load(&path, Some(model), (sets, normalize), &self.setting.device)?.network)
    }
}

/// The network at `path`; where that does not say how it normalizes, as those of the run.
fn load(
    path: &Path,
    model: Option<&ModelSpec>,
    (sets, normalize): (&Sets, &Normalize),
    device: &Device,
) -> Result<Loaded> {
    let (image_shape, n_classes) = sets.shape();
    let wanted = Wanted {
        model,
        image_shape: Some(image_shape),
        n_classes: Some(n_classes),
        default_normalize: Some(normalize),
        ..Wanted::default()
    };
    weights::load(path, &wanted, device)
}

/// Refuses a training that these images, its network or its teacher do not allow: before anything
/// is written, and not when its turn comes after hours.
pub(crate) fn check(
    training: &TrainingSpec,
    normalize: &Normalize,
    sets: &Sets,
    setting: &Setting,
) -> Result<()> {
    let train = sets.train(training, 0)?;
    training.soft_targets.map(|targets| targets.n_views(&*train)).transpose()?;
    let drawn = (Stream::new(0), &setting.device);
    weights::network(&training.model, sets.shape(), normalize, drawn)?;
    if let Some(Teacher::Weights { path, model, .. }) = &training.teacher {
        load(path, model.as_ref(), (sets, normalize), &setting.device)?.tell(path);
    }
    Ok(())
}

/// Runs or resumes `training` with `seed`; returns its wall time in seconds, or nothing when it
/// was interrupted.
pub(crate) fn run(
    context: &Context<'_>,
    training: &TrainingSpec,
    seed: u64,
    log: &mut MetricsLog,
    spec_hash: &str,
) -> Result<Option<f64>> {
    let state = context.folder.state(&training.name, seed);
    let mut students = students(context, training, seed)?;
    if let Some(source) = &training.init {
        let first = context.trained(source, seed)?.params().tensors();
        students.iter_mut().try_for_each(|student| student.model.params().load(&first))?;
    }
    let mut cohort = Cohort::new(&training.name, seed, students);
    let device = &context.setting.device;
    match cohort.resume(&state, spec_hash, device)? {
        Some(n_bytes) => log.truncate(n_bytes)?,
        None => {
            if let Some(seconds) = finished(context, training, seed)? {
                // A process that was killed while it removed the state left a part of it.
                checkpoint::remove(&state)?;
                return Ok(Some(seconds));
            }
            cohort.save(&state, spec_hash, log.n_bytes())?;
        }
    }
    let teacher = teacher(context, training, seed)?;
    let train = context.sets.train(training, seed)?;
    let n_steps = training.plan.n_steps(train.n_samples());
    let (done, total) =
        (cohort.steps_done(n_steps), training.plan.n_epochs.saturating_mul(n_steps));
    let progress = Progress::start(title(context, training, seed), done, total);
    let kept = soft_targets(context, training, teacher.as_ref())?;
    let soft_targets = kept.as_ref().map(|(targets, folder, identity)| SoftTargetStore {
        targets: *targets,
        folder,
        identity,
    });
    let data = Data {
        train: &*train,
        test: &context.sets.test,
        holdout: context.sets.holdout.as_ref(),
        teacher: teacher.as_ref().map(|net| net as &dyn Classifier),
        soft_targets,
    };
    let mut run = Run {
        metrics: log,
        checkpoint: &state,
        spec_hash,
        checkpoint_every: CHECKPOINT_EVERY,
        checkpoint_within: CHECKPOINT_WITHIN,
        stop: &context.setting.stop,
        counters: &progress.counters,
    };
    if fit(&mut cohort, &training.plan, data, &mut run)? == Outcome::Interrupted {
        return Ok(None);
    }
    drop(progress);
    finish(context, training, &cohort, &data, log)?;
    checkpoint::remove(&state)?;
    Ok(Some(cohort.seconds()))
}

fn title(context: &Context<'_>, training: &TrainingSpec, seed: u64) -> String {
    match context.spec.seeds {
        1 => training.name.clone(),
        _ => format!("{} (seed {seed})", training.name),
    }
}

/// The wall time of a training that the log says is complete.
fn finished(context: &Context<'_>, training: &TrainingSpec, seed: u64) -> Result<Option<f64>> {
    let records = context.folder.records()?;
    Ok(records.iter().find_map(|record| match record {
        Record::Final(r) if r.id.training == training.name && r.seed == seed => Some(r.seconds),
        _ => None,
    }))
}

/// The students before their first step: the same random values for the same network, so that
/// they differ by their objectives alone.
pub(super) fn students(
    context: &Context<'_>,
    training: &TrainingSpec,
    seed: u64,
) -> Result<Vec<Student>> {
    let stream = Stream::new(seed).at("init");
    let build = |spec: &crate::suite::StudentSpec| {
        let model = context.network(&training.model, stream)?;
        let optimizer = training.plan.optimizer;
        let mut student = Student::new(&spec.name, model.into(), spec.loss.clone(), optimizer);
        student.perturb = spec.perturb.as_ref().map(perturb).transpose()?;
        Ok(student)
    };
    training.student.iter().map(build).collect()
}

fn perturb(attack: &AttackSpec) -> Result<Box<dyn Perturb>> {
    Ok(Box::new(AdversarialTraining::new(attack.clone())?))
}

pub(super) fn teacher(
    context: &Context<'_>,
    training: &TrainingSpec,
    seed: u64,
) -> Result<Option<Net>> {
    match &training.teacher {
        None => Ok(None),
        Some(Teacher::Weights { path, model, .. }) => {
            let run = (context.sets, &context.spec.normalize);
            Ok(Some(load(path, model.as_ref(), run, &context.setting.device)?.network))
        }
        Some(Teacher::Training(name)) => {
            let model = context.spec.training(name)?.student[0].name.clone();
            context.trained(&Source { training: name.clone(), model }, seed).map(Some)
        }
    }
}

/// Where the soft targets of `training` are kept: beside the run's folder, for other runs on the
/// same images; and what they depend on besides the teacher's weights. Versions of images that can
/// be numbered are the same for all seeds.
fn soft_targets(
    context: &Context<'_>,
    training: &TrainingSpec,
    teacher: Option<&Net>,
) -> Result<Option<(SoftTargets, PathBuf, String)>> {
    let Some(targets) = training.soft_targets else { return Ok(None) };
    let spec = context.spec;
    let identity = serde_json::json!({
        "data": spec.data,
        "files": spec.files,
        "n_train": spec.n_train,
        "holdout": spec.holdout,
        "omit_class": training.omit_class,
        "augment": training.augment,
        "network": teacher.map(Net::graph),
        "device": super::device_name(&context.setting.device),
    });
    let folder = context.folder.path().with_file_name("soft-targets");
    Ok(Some((targets, folder, identity.to_string())))
}
