//! One training of a run: build or resume, fit, evaluate, record, keep the models.

use std::time::Duration;

use kd_adv::{AdversarialTraining, AttackSpec, Victim};
use kd_core::record::{CorrectionRecord, Evaluation, FinalRecord, Record};
use kd_core::{BatchSource, Classifier, Error, Perturb, Result, Stream, checkpoint};
use kd_train::{Cohort, Data, MetricsLog, Outcome, Run, Student, correction, fit, logits, score};
use serde::Serialize;

use super::folder::Folder;
use super::progress::Progress;
use super::{Sets, Setting};
use crate::suite::{Source, Spec, Teacher, TrainingSpec};
use crate::weights;

/// Least time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// What all trainings of a run share.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) sets: &'a Sets,
    pub(crate) setting: &'a Setting,
    pub(crate) folder: &'a Folder,
}

impl Context<'_> {
    /// `network` with the run's normalization inside.
    pub(crate) fn victim<'n>(&self, network: &'n dyn Classifier) -> Result<Victim<'n>> {
        let normalize = &self.spec.normalize;
        let image_shape = self.sets.shape().0;
        Victim::new(network, image_shape, &normalize.mean, &normalize.std, &self.setting.device)
    }

    /// The network that `source` ended with.
    pub(crate) fn trained(&self, source: &Source, seed: u64) -> Result<Box<dyn Classifier>> {
        let model = &self.spec.training(&source.training)?.model;
        let path = self.folder.checkpoint(&source.training, seed, &source.model);
        weights::load_model(model, &path, self.sets.shape(), &self.setting.device)
    }
}

/// Refuses a training that these images, its network or its teacher do not allow: before anything
/// is written, and not when its turn comes after hours.
pub(crate) fn check(training: &TrainingSpec, sets: &Sets, setting: &Setting) -> Result<()> {
    sets.train(training, 0)?;
    let (image_shape, n_classes) = sets.shape();
    training.model.as_dyn().build(image_shape, n_classes, Stream::new(0), &setting.device)?;
    if let Some(Teacher::Weights { path, model, .. }) = &training.teacher {
        weights::load_model(model, path, sets.shape(), &setting.device)?;
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
    let data = Data {
        train: &train,
        test: &context.sets.test,
        holdout: context.sets.holdout.as_ref(),
        teacher: teacher.as_deref(),
    };
    let mut run = Run {
        metrics: log,
        checkpoint: &state,
        spec_hash,
        checkpoint_every: CHECKPOINT_EVERY,
        stop: &context.setting.stop,
        steps_done: &progress.steps_done,
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
        Record::Final(r) if r.training == training.name && r.seed == seed => Some(r.seconds),
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
    let (image_shape, n_classes) = context.sets.shape();
    let stream = Stream::new(seed).at("init");
    let device = &context.setting.device;
    let build = |spec: &crate::suite::StudentSpec| {
        let model = training.model.as_dyn().build(image_shape, n_classes, stream, device)?;
        let optimizer = training.plan.optimizer;
        let mut student = Student::new(&spec.name, model, spec.loss.clone(), optimizer);
        student.perturb = spec.perturb.as_ref().map(|a| perturb(context, a)).transpose()?;
        Ok(student)
    };
    training.student.iter().map(build).collect()
}

fn perturb(context: &Context<'_>, attack: &AttackSpec) -> Result<Box<dyn Perturb>> {
    let kd_data::Normalize { mean, std } = context.spec.normalize.clone();
    Ok(Box::new(AdversarialTraining::new(attack.clone(), mean, std)?))
}

fn teacher(
    context: &Context<'_>,
    training: &TrainingSpec,
    seed: u64,
) -> Result<Option<Box<dyn Classifier>>> {
    match &training.teacher {
        None => Ok(None),
        Some(Teacher::Weights { path, model, .. }) => {
            let device = &context.setting.device;
            weights::load_model(model, path, context.sets.shape(), device).map(Some)
        }
        Some(Teacher::Training(name)) => {
            let model = context.spec.training(name)?.student[0].name.clone();
            context.trained(&Source { training: name.clone(), model }, seed).map(Some)
        }
    }
}

/// Evaluates every student, keeps its weights, and records both.
fn finish(
    context: &Context<'_>,
    training: &TrainingSpec,
    cohort: &Cohort,
    data: &Data<'_>,
    log: &mut MetricsLog,
) -> Result<()> {
    let teacher = data.teacher.map(|t| data.test.predictions(t)).transpose()?;
    for (student, spec) in cohort.students.iter().zip(&training.student) {
        let path = context.folder.checkpoint(&training.name, cohort.seed, &student.name);
        checkpoint::save(&path, &student.model.params().tensors(), &training.model)?;
        let holdout = data.holdout.map(|set| set.evaluate(&*student.model, None)).transpose()?;
        let (best_top1, best_epoch) = student.best();
        let record = FinalRecord {
            seed: cohort.seed,
            training: training.name.clone(),
            model: student.name.clone(),
            claim: spec.claim.clone(),
            network: training.model.short_name(),
            n_parameters: student.model.params().n_elements(),
            loss: json("loss", &spec.loss)?,
            perturb: spec.perturb.as_ref().map(|attack| json("perturb", attack)).transpose()?,
            n_epochs: training.plan.n_epochs,
            n_train: data.train.n_samples(),
            omitted_class: training.omit_class,
            last: data.test.evaluate(&*student.model, teacher.as_deref())?,
            best_top1,
            best_epoch,
            holdout_top1: holdout.map(|h| h.top1),
            seconds: cohort.seconds(),
        };
        eprintln!("{}: {}", training.name, summary(&record));
        log.append(&Record::Final(record))?;
    }
    if let Some(class) = training.omit_class {
        correct(context, training, cohort, data, class as usize, log)?;
    }
    log.sync()
}

fn json(field: &str, value: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| Error::config(field, e.to_string()))
}

fn summary(record: &FinalRecord) -> String {
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let holdout =
        record.holdout_top1.map_or(String::new(), |h| format!(", held out {}", percent(h)));
    format!(
        "{}: {} at the last epoch, best {} at epoch {}{holdout}",
        record.model,
        percent(record.last.top1),
        percent(record.best_top1),
        record.best_epoch
    )
}

/// Corrects the bias of the omitted class, in Hinton's way and without labels.
fn correct(
    context: &Context<'_>,
    training: &TrainingSpec,
    cohort: &Cohort,
    data: &Data<'_>,
    class: usize,
    log: &mut MetricsLog,
) -> Result<()> {
    let Some(teacher) = data.teacher else { return Ok(()) };
    let train = context.sets.train_in_order()?;
    let n_classes = data.test.n_classes();
    let predicted = logits(teacher, &train)?;
    let prior = correction::frequency(&predicted, n_classes, class);
    let labels = data.test.labels();
    for (student, spec) in cohort.students.iter().zip(&training.student) {
        if !spec.loss.as_dyn().needs_teacher() {
            continue;
        }
        let on_test = data.test.logits(&*student.model)?;
        let on_train = logits(&*student.model, &train)?;
        let tuned = correction::tuned_bias(&on_test, labels, n_classes, class);
        let matched = correction::matched_bias(&on_train, n_classes, class, prior);
        for (method, bias) in [("test-tuned", tuned), ("label-free", matched)] {
            let mut corrected = on_test.clone();
            correction::add_bias(&mut corrected, n_classes, class, bias);
            let evaluation: Evaluation = score(&corrected, labels, n_classes, None);
            log.append(&Record::Correction(CorrectionRecord {
                seed: cohort.seed,
                training: training.name.clone(),
                model: student.name.clone(),
                method: method.into(),
                class: class as u32,
                bias,
                evaluation,
            }))?;
        }
    }
    Ok(())
}
