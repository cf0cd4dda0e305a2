//! How long a run will take, told before it begins.

use std::time::{Duration, Instant};

use kd_core::record::Record;
use kd_core::{BatchSource, Classifier, Result, Stream};
use kd_train::{Cohort, prepare, train_step};

use super::training::{Context, students};
use crate::suite::TrainingSpec;

/// Seconds from which on it is worth telling.
const LONG: f64 = 600.0;
/// Time after which no further step of a training is timed, and their largest number.
const ENOUGH: (Duration, usize) = (Duration::from_millis(500), 5);

/// Says how long the trainings that are not done will take on this machine, when that is more than
/// ten minutes. A few steps of each are timed; what they learn is thrown away.
pub(crate) fn announce(context: &Context<'_>) -> Result<()> {
    let records = context.folder.records()?;
    let mut seconds = 0.0;
    for training in &context.spec.training {
        let n_done = records.iter().filter(|record| is_end_of(record, training)).count();
        let n_open = context.spec.seeds.saturating_sub(n_done as u64);
        if n_open > 0 {
            seconds += n_open as f64 * estimate(context, training)?;
        }
    }
    if seconds > LONG {
        let suite = &context.spec.suite;
        eprintln!("{suite}: about {} on this machine", kd_report::duration(seconds));
    }
    Ok(())
}

/// Whether `record` is the last student's at the end of `training`, with any seed.
fn is_end_of(record: &Record, training: &TrainingSpec) -> bool {
    let last = training.student.last().map(|student| student.name.as_str());
    matches!(record, Record::Final(r) if r.training == training.name && Some(&*r.model) == last)
}

/// Seconds of one training: its steps, and evaluations, in which an image costs a third of what
/// it costs in a step (the forward pass without the two backward ones).
fn estimate(context: &Context<'_>, training: &TrainingSpec) -> Result<f64> {
    let (plan, sets) = (&training.plan, context.sets);
    let train = sets.train(training, 0)?;
    let n_steps = plan.n_epochs.saturating_mul(plan.n_steps(train.n_samples()));
    let n_test = sets.test.labels().len() + sets.holdout.as_ref().map_or(0, |h| h.labels().len());
    let n_images = plan.n_epochs.div_ceil(plan.eval_every) as f64 * n_test as f64;
    let step = step_seconds(context, training, &train)?;
    Ok(step * (n_steps as f64 + n_images / plan.batch_size as f64 / 3.0))
}

/// The shortest of a few steps, teacher forward included.
fn step_seconds(
    context: &Context<'_>,
    training: &TrainingSpec,
    train: &dyn BatchSource,
) -> Result<f64> {
    let mut cohort = Cohort::new(&training.name, 0, students(context, training, 0)?);
    let teacher = stand_in(context, training)?;
    let order = train.order(0);
    let indices = &order[..training.plan.batch_size.min(order.len())];
    let (started, mut shortest) = (Instant::now(), f64::INFINITY);
    for _ in 0..ENOUGH.1 {
        let begun = Instant::now();
        let prepared = prepare(train.batch(0, indices)?, teacher.as_deref())?;
        train_step(&mut cohort, &prepared, 0.0, Stream::new(0))?;
        shortest = shortest.min(begun.elapsed().as_secs_f64());
        if started.elapsed() > ENOUGH.0 {
            break;
        }
    }
    Ok(shortest)
}

/// A network like the teacher, which may not be trained yet.
fn stand_in(context: &Context<'_>, training: &TrainingSpec) -> Result<Option<Box<dyn Classifier>>> {
    let (image_shape, n_classes) = context.sets.shape();
    let device = &context.setting.device;
    let build = |model: &kd_models::ModelSpec| {
        model.as_dyn().build(image_shape, n_classes, Stream::new(0), device)
    };
    context.spec.teacher_model(training)?.map(build).transpose()
}
