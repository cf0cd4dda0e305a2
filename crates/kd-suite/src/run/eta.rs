//! How long a run will take, told before it begins.

use std::time::{Duration, Instant};

use kd_core::record::{ModelId, Record};
use kd_core::{BatchSource, Net, Result, Stream};
use kd_train::{AHEAD, Cohort, EvalSet, Prepared, TeacherSource, prepare, train_step};
use rayon::prelude::*;

use super::context::Context;
use super::job::Job;
use super::teacher::{Ready, ready};
use super::training::students;
use super::unit::{Unit, units};
use crate::attack::victim;
use crate::suite::{Teacher, TrainingSpec};
use crate::{examples, weights};

/// Seconds from which on it is worth telling.
const LONG: f64 = 600.0;
/// Time after which no further step of a training is timed, and their largest number.
const ENOUGH: (Duration, usize) = (Duration::from_millis(500), 10);
/// Images whose gradients are timed.
const N_TIMED: usize = 50;

/// Says how long the units that are not done will take on this machine, when that is more than ten
/// minutes.
pub(super) fn announce(context: &Context<'_>, records: &[Record]) -> Result<()> {
    let open = |unit: &Unit<'_>| !unit.is_done(records);
    let open: Vec<Unit<'_>> = units(context.spec).into_iter().filter(open).collect();
    let seconds: f64 = seconds(context, &open)?.iter().sum();
    if seconds > LONG {
        let suite = &context.spec.suite;
        eprintln!("{suite}: about {} on this machine", kd_report::duration(seconds));
    }
    Ok(())
}

/// How long each of `units` will take on this machine, about. A few steps of each training are timed, and what
/// they learn is thrown away; of attacks, one pass is timed, and those of all are counted. With every seed a job
/// takes as long, and each of its students too.
pub(super) fn seconds(context: &Context<'_>, units: &[Unit<'_>]) -> Result<Vec<f64>> {
    let (mut pace, mut known) = (None, Vec::<(Job<'_>, f64)>::new());
    for Unit { job, .. } in units {
        if known.iter().all(|(other, _)| other != job) {
            known.push((*job, job_seconds(context, job, &mut pace)?));
        }
    }
    let of =
        |job: &Job<'_>| known.iter().find(|(other, _)| other == job).map_or(0.0, |known| known.1);
    let share = |unit: &Unit<'_>| match (unit.job, &unit.students) {
        (Job::Training(training), Some(part)) => part.len() as f64 / training.student.len() as f64,
        _ => 1.0,
    };
    Ok(units.iter().map(|unit| share(unit) * of(&unit.job)).collect())
}

/// Seconds of a job with one seed; `pace` is those of a multiply-add under attack, once known.
fn job_seconds(context: &Context<'_>, job: &Job<'_>, pace: &mut Option<f64>) -> Result<f64> {
    match job {
        Job::Training(training) => return training_seconds(context, training),
        Job::Choice(training) => {
            return training.choice().map_or(Ok(0.0), |choice| training_seconds(context, &choice));
        }
        _ => {}
    }
    let n_pixels = context.sets.shape().0.iter().product();
    let Some((source, n_images, n_passes)) = job.passes(n_pixels) else { return Ok(0.0) };
    let multiply_adds = multiply_adds(context, source)?;
    let pace = match *pace {
        Some(pace) => pace,
        None => *pace.insert(pass_seconds(context, source)? / multiply_adds),
    };
    Ok(pace * multiply_adds * n_images as f64 * n_passes as f64)
}

/// What the network of `source` multiplies for the logits of an image.
fn multiply_adds(context: &Context<'_>, source: &ModelId) -> Result<f64> {
    let model = &context.spec.training(&source.training)?.model;
    let graph = weights::graph(model, context.sets.shape(), Some(&context.spec.normalize))?;
    Ok(graph.counts()?.multiply_adds.max(1) as f64)
}

/// Seconds of one image's logits and gradient, as one thread computes them, over the threads.
fn pass_seconds(context: &Context<'_>, source: &ModelId) -> Result<f64> {
    let network = network(context, &source.training)?;
    let victim = victim(&network, &context.setting.device)?;
    let images = examples::first(context.sets.test_images()?, N_TIMED);
    let started = Instant::now();
    victim.pullback(&images.pixels, |_, _, seeds| seeds[0] = 1.0)?;
    let seconds = started.elapsed().as_secs_f64() / images.len() as f64;
    Ok(seconds / rayon::current_num_threads() as f64)
}

/// Seconds of one training: its steps, and evaluations, in which an image costs a third of what
/// it costs in a step (the forward pass without the two backward ones). What goes on from a frozen
/// part is made once for each version of the images. Several processes share all of it evenly.
fn training_seconds(context: &Context<'_>, training: &TrainingSpec) -> Result<f64> {
    let (plan, sets) = (&training.plan, context.sets);
    let train = sets.train(training, 0)?;
    let n_steps = plan.n_epochs.saturating_mul(plan.n_steps(train.n_samples()));
    let n_test = sets.test.n_images() + sets.holdout.as_ref().map_or(0, EvalSet::n_images);
    let n_images = plan.n_evaluations(train.n_samples()) as f64 * n_test as f64;
    let pace = pace(context, training, &*train)?;
    let n_evaluations = n_images / plan.batch_size as f64 / 3.0;
    let n_computed = n_steps as f64 + n_evaluations;
    let n_prepared = if pace.remembers {
        let n_views = train.n_views().map_or(u64::MAX, |n| n as u64).min(plan.n_epochs);
        let n_seen = n_test as f64 / plan.batch_size as f64;
        n_views.saturating_mul(plan.n_steps(train.n_samples())) as f64 + n_seen
    } else {
        n_computed
    };
    let seconds = pace.prepare * n_prepared + pace.step * n_computed;
    Ok(seconds / context.setting.ranks.n_ranks() as f64)
}

/// Seconds of the parts of a training.
struct Pace {
    /// Of a batch: decoding, the teacher, what is frozen.
    prepare: f64,
    /// Of a step of all students.
    step: f64,
    /// Whether what is prepared is remembered.
    remembers: bool,
}

/// The shortest of a few steps.
fn pace(context: &Context<'_>, training: &TrainingSpec, train: &dyn BatchSource) -> Result<Pace> {
    let mut cohort = Cohort::new(&training.name, 0, students(context, training, 0, None)?);
    cohort.may_diverge = true;
    let stand_in = stand_in(context, training)?;
    let teacher = stand_in.as_ref().map(Ready::source);
    let order = train.order(0);
    let indices = &order[..training.plan.batch_size.min(order.len())];
    let n_ahead = if train.device().is_cpu() { AHEAD } else { 1 };
    let started = Instant::now();
    let mut shortest = Pace { prepare: f64::INFINITY, step: f64::INFINITY, remembers: false };
    for _ in 0..ENOUGH.1 {
        let begun = Instant::now();
        let ahead =
            (0..n_ahead).into_par_iter().map(|_| prepared(&cohort, train, indices, teacher));
        let ahead = ahead.collect::<Result<Vec<_>>>()?;
        let seconds = begun.elapsed().as_secs_f64() / n_ahead as f64;
        shortest.prepare = shortest.prepare.min(seconds);
        shortest.remembers = ahead[0].has_features();
        let begun = Instant::now();
        train_step(&mut cohort, &ahead[0], 0.0, Stream::new(0))?;
        shortest.step = shortest.step.min(begun.elapsed().as_secs_f64());
        if started.elapsed() > ENOUGH.0 {
            break;
        }
    }
    Ok(shortest)
}

/// A batch as the students of `cohort` get it.
fn prepared(
    cohort: &Cohort,
    train: &dyn BatchSource,
    indices: &[u32],
    teacher: Option<TeacherSource<'_>>,
) -> Result<Prepared> {
    let network = teacher.and_then(TeacherSource::network);
    let mut prepared = prepare(train.batch(0, indices)?, network, &cohort.teacher_taps())?;
    if let Some(TeacherSource::Logits(logits)) = teacher {
        prepared = prepared.with_teacher_logits(logits.of(train, 0, indices)?);
    }
    for _ in 1..cohort.n_views() {
        prepared = prepared.with_view(&train.batch(0, indices)?, network)?;
    }
    prepared.with_features(cohort)
}

/// A teacher like that of `training`, of whose networks one may not be trained yet.
fn stand_in(context: &Context<'_>, training: &TrainingSpec) -> Result<Option<Ready>> {
    let trained = |member: &Teacher| match member {
        Teacher::Training(name) => Some(network(context, name)),
        _ => None,
    };
    let members = training.teacher.as_ref().map_or(&[][..], Teacher::members);
    // Of several, one that is trained here stands for all.
    match members.iter().find_map(trained) {
        Some(network) => Ok(Some(Ready::Network(Box::new(network?)))),
        None => ready(context, training, 0),
    }
}

/// The network of a training before its first step.
fn network(context: &Context<'_>, training: &str) -> Result<Net> {
    context.network(&context.spec.training(training)?.model, Stream::new(0))
}
