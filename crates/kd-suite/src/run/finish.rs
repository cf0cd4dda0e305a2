//! The end of a training: evaluate, record, keep the models.

use std::path::Path;

use kd_core::checkpoint::{self, Description};
use kd_core::record::{
    AttackSettings, BadImagesRecord, Compute, CorrectionMethod, CorrectionRecord, Evaluation,
    FinalRecord, ModelId, Objective, Record, SoftTargetsRecord, TeacherRecord, Trained,
};
use kd_core::{Classifier, Result};
use kd_data::DataSpec;
use kd_train::{
    Cohort, Data, MetricsLog, Student, TeacherSource, calibrated_temperature, correction, logits,
    score, score_at,
};

use super::context::Context;
use crate::suite::{Teacher, TrainingSpec};

/// Photographs that one record lists at most.
const MAX_LISTED: usize = 1000;

/// Evaluates every student, keeps its weights, and records both; then what else is to be told of
/// the training.
pub(super) fn finish(
    context: &Context<'_>,
    training: &TrainingSpec,
    cohort: &Cohort,
    (data, log): (&Data<'_>, &mut MetricsLog),
) -> Result<()> {
    let network = data.teacher.and_then(TeacherSource::network);
    let on_test = |network| context.sets.test.evaluate_teacher(network);
    let teacher = network.map(on_test).transpose()?;
    let named = training.teacher.as_ref().and_then(Teacher::network);
    if let (Some((last, _)), Some(network)) = (&teacher, named) {
        log.append(&Record::Teacher(TeacherRecord {
            seed: cohort.seed,
            training: training.name.clone(),
            network,
            last: last.clone(),
        }))?;
    }
    let predictions = teacher.as_ref().map(|(_, predictions)| &predictions[..]);
    students(context, training, cohort, (data, predictions), log)?;
    if let Some(class) = context.sets.omitted(training)? {
        correct(context, training, cohort, data, class as usize, log)?;
    }
    soft_targets(training, cohort, data, log)?;
    bad_images(context, training, cohort.seed, log)?;
    log.sync()
}

fn students(
    context: &Context<'_>,
    training: &TrainingSpec,
    cohort: &Cohort,
    (data, teacher): (&Data<'_>, Option<&[u32]>),
    log: &mut MetricsLog,
) -> Result<()> {
    for (student, spec) in cohort.students.iter().zip(&training.student) {
        let path = context.folder.checkpoint(&training.name, cohort.seed, &student.name);
        let held_out = data.holdout.map(|set| set.logits(&*student.model)).transpose()?;
        let n_classes = context.sets.test.n_classes();
        let temperature = held_out
            .as_ref()
            .map(|(logits, labels)| calibrated_temperature(logits, labels, n_classes));
        save(context, training, (&*student.model, temperature), &path)?;
        let holdout = held_out.zip(temperature).map(|((logits, labels), temperature)| {
            score_at(&logits, &labels, n_classes, temperature)
        });
        let (best_top1, best_epoch) = student.best();
        let record = FinalRecord {
            seed: cohort.seed,
            id: ModelId::new(&training.name, &student.name),
            how: Trained {
                claim: spec.claim.clone(),
                network: training.model.short_name(),
                n_parameters: student.model.params().n_elements(),
                loss: Objective::of(&spec.loss)?,
                taught: spec.loss.as_dyn().needs_teacher(),
                perturb: spec.perturb.as_ref().map(AttackSettings::of).transpose()?,
                n_epochs: training.plan.n_epochs,
                n_train: data.train.n_samples(),
                omitted_class: context.sets.omitted(training)?,
            },
            last: context.sets.test.evaluate(&*student.model, teacher)?,
            best_top1,
            best_epoch,
            holdout_top1: holdout.as_ref().map(|h| h.top1),
            holdout_nll: holdout.map(|h| h.nll),
            chosen_epoch: student.chosen_epoch(),
            compute: Some(compute(cohort, student)),
            seconds: cohort.seconds(),
        };
        eprintln!("{}: {}", training.name, summary(&record));
        log.append(&Record::Final(record.into()))?;
    }
    Ok(())
}

/// What the training has cost `student` so far.
pub(super) fn compute(cohort: &Cohort, student: &Student) -> Compute {
    let n_views = student.loss.n_views() as u64;
    let student_passes = n_views * student.n_images();
    let is_taught = student.loss.needs_teacher() || !student.loss.teacher_taps().is_empty();
    let of_teacher = |n| if is_taught { n } else { 0 };
    Compute {
        student_passes,
        teacher_asked: of_teacher(student_passes),
        teacher_computed: of_teacher(cohort.teacher_rows().1),
        n_views,
    }
}

/// Keeps a model with all that is needed to use it, and the temperature at which held-out images say that
/// it is calibrated.
fn save(
    context: &Context<'_>,
    training: &TrainingSpec,
    (model, temperature): (&dyn Classifier, Option<f64>),
    path: &Path,
) -> Result<()> {
    let (tensors, state) = (model.params().tensors(), &training.model);
    let Some(graph) = model.graph() else { return checkpoint::save(path, &tensors, state) };
    let resize = match &context.spec.data {
        DataSpec::Photos(photos) => Some(photos.resize),
        DataSpec::SyntheticPhotos(photos) => Some(photos.resize),
        _ => None,
    };
    let class_names = context.sets.class_names().to_vec();
    let known = Description::new(training.model.short_name(), graph.clone());
    let network = Description { class_names, resize, temperature, ..known };
    checkpoint::save_network(path, &network, &tensors, state)
}

/// Says and records what the file of soft targets saved.
fn soft_targets(
    training: &TrainingSpec,
    cohort: &Cohort,
    data: &Data<'_>,
    log: &mut MetricsLog,
) -> Result<()> {
    let Some(targets) = training.soft_targets else { return Ok(()) };
    let n_views = targets.n_views(data.train)?;
    let n_classes = data.train.n_classes();
    let bytes = targets.n_bytes(data.train.n_samples() * n_views, n_classes);
    let (asked, computed) = cohort.teacher_rows();
    eprintln!(
        "{}: the teacher computed {computed} of {asked} rows of soft targets; full, their file has \
         {:.1} MB",
        training.name,
        bytes as f64 / 1e6
    );
    log.append(&Record::SoftTargets(SoftTargetsRecord {
        seed: cohort.seed,
        training: training.name.clone(),
        top_k: targets.n_stored(n_classes),
        bits: targets.bits(),
        n_views,
        bytes,
        asked,
        computed,
    }))
}

/// Says and records which photographs were skipped or repaired.
fn bad_images(
    context: &Context<'_>,
    training: &TrainingSpec,
    seed: u64,
    log: &mut MetricsLog,
) -> Result<()> {
    let bad = context.sets.bad_images();
    let Some((first, reason)) = bad.first() else { return Ok(()) };
    let n = bad.len();
    eprintln!(
        "{}: {n} photographs were skipped or repaired, {first} first: {reason}",
        training.name
    );
    log.append(&Record::BadImages(BadImagesRecord {
        seed,
        training: training.name.clone(),
        n,
        images: bad.into_iter().take(MAX_LISTED).map(|(name, reason)| [name, reason]).collect(),
    }))
}

fn summary(record: &FinalRecord) -> String {
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let holdout =
        record.holdout_top1.map_or(String::new(), |h| format!(", held out {}", percent(h)));
    let kept = record.chosen_epoch.map_or("the last epoch".into(), |e| format!("epoch {e}, kept"));
    format!(
        "{}: {} at {kept}, best {} at epoch {}{holdout}",
        record.id.model,
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
    let Some(teacher) = data.teacher.and_then(TeacherSource::network) else {
        eprintln!(
            "{}: the bias of class {class} is corrected by a teacher's network only",
            training.name
        );
        return Ok(());
    };
    let train = context.sets.train_in_order()?;
    let n_classes = context.sets.test.n_classes();
    let predicted = logits(teacher, &*train)?;
    let prior = correction::frequency(&predicted, n_classes, class);
    for (student, spec) in cohort.students.iter().zip(&training.student) {
        if !spec.loss.as_dyn().needs_teacher() {
            continue;
        }
        let (on_test, labels) = context.sets.test.logits(&*student.model)?;
        let on_train = logits(&*student.model, &*train)?;
        let tuned = correction::tuned_bias(&on_test, &labels, n_classes, class);
        let matched = correction::matched_bias(&on_train, n_classes, class, prior);
        for (method, bias) in
            [(CorrectionMethod::TestTuned, tuned), (CorrectionMethod::LabelFree, matched)]
        {
            let mut corrected = on_test.clone();
            correction::add_bias(&mut corrected, n_classes, class, bias);
            let evaluation: Evaluation = score(&corrected, &labels, n_classes, None);
            log.append(&Record::Correction(CorrectionRecord {
                seed: cohort.seed,
                id: ModelId::new(&training.name, &student.name),
                method,
                class: class as u32,
                bias,
                evaluation,
            }))?;
        }
    }
    Ok(())
}
