//! How long a run will take, told before it begins.

use std::time::{Duration, Instant};

use kd_adv::{AttackSpec, Audit};
use kd_core::record::Record;
use kd_core::{BatchSource, Classifier, Net, Result, Stream};
use kd_train::{Cohort, EvalSet, prepare, train_step};

use super::robustness::{Job, jobs};
use super::training::{Context, students, teacher};
use crate::examples;
use crate::suite::{Source, Teacher, TrainingSpec};

/// Seconds from which on it is worth telling.
const LONG: f64 = 600.0;
/// Time after which no further step of a training is timed, and their largest number.
const ENOUGH: (Duration, usize) = (Duration::from_millis(500), 5);

/// Says how long the trainings and attacks that are not done will take on this machine, when that is
/// more than ten minutes. A few steps of each are timed; what they learn is thrown away.
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
    for seed in 0..context.spec.seeds {
        for job in jobs(&context.spec.robustness) {
            if !records.iter().any(|record| job.is_recorded_by(record, seed)) {
                seconds += job_seconds(context, &job)?;
            }
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
    matches!(record, Record::Final(r) if r.id.training == training.name && Some(&*r.id.model) == last)
}

/// Seconds of one training: its steps, and evaluations, in which an image costs a third of what
/// it costs in a step (the forward pass without the two backward ones).
fn estimate(context: &Context<'_>, training: &TrainingSpec) -> Result<f64> {
    let (plan, sets) = (&training.plan, context.sets);
    let train = sets.train(training, 0)?;
    let n_steps = plan.n_epochs.saturating_mul(plan.n_steps(train.n_samples()));
    let n_test = sets.test.n_images() + sets.holdout.as_ref().map_or(0, EvalSet::n_images);
    let n_images = plan.n_evaluations(train.n_samples()) as f64 * n_test as f64;
    let step = step_seconds(context, training, &*train)?;
    Ok(step * (n_steps as f64 + n_images / plan.batch_size as f64 / 3.0))
}

/// The shortest of a few steps, teacher forward included.
fn step_seconds(
    context: &Context<'_>,
    training: &TrainingSpec,
    train: &dyn BatchSource,
) -> Result<f64> {
    let mut cohort = Cohort::new(&training.name, 0, students(context, training, 0)?);
    let stand_in = stand_in(context, training)?;
    let (teacher, taps) =
        (stand_in.as_ref().map(|net| net as &dyn Classifier), cohort.teacher_taps());
    let order = train.order(0);
    let indices = &order[..training.plan.batch_size.min(order.len())];
    let (started, mut shortest) = (Instant::now(), f64::INFINITY);
    for _ in 0..ENOUGH.1 {
        let begun = Instant::now();
        let prepared = prepare(train.batch(0, indices)?, teacher, &taps)?;
        train_step(&mut cohort, &prepared, 0.0, Stream::new(0))?;
        shortest = shortest.min(begun.elapsed().as_secs_f64());
        if started.elapsed() > ENOUGH.0 {
            break;
        }
    }
    Ok(shortest)
}

/// A network like the teacher, which may not be trained yet.
fn stand_in(context: &Context<'_>, training: &TrainingSpec) -> Result<Option<Net>> {
    match &training.teacher {
        Some(Teacher::Training(name)) => network(context, name).map(Some),
        _ => teacher(context, training, 0),
    }
}

/// The network of a training before its first step.
fn network(context: &Context<'_>, training: &str) -> Result<Net> {
    context.network(&context.spec.training(training)?.model, Stream::new(0))
}

/// Images whose gradients are timed.
const N_TIMED: usize = 50;

/// At most so many seconds: most attacks are done with an image as soon as they succeed.
fn job_seconds(context: &Context<'_>, job: &Job<'_>) -> Result<f64> {
    let n_pixels = context.sets.shape().0.iter().product();
    let (source, n_images, n_passes) = match job {
        Job::Census(section, source) => (source, section.images.n_images, 1),
        Job::Attack(section, source, spec) => {
            (source, section.images.n_images, passes(spec, n_pixels))
        }
        Job::Pictures(section, source) => {
            (source, section.pictures, passes(&section.attack, n_pixels))
        }
        Job::Audit(section, source) => {
            let Audit { n_steps, n_queries, .. } = section.audit;
            (
                source,
                section.images.n_images,
                (14 + section.transfer_from.len()) * n_steps + n_queries / 3,
            )
        }
    };
    Ok(pass_seconds(context, source)? * n_images as f64 * n_passes as f64)
}

/// Seconds of one image's logits and gradient, as one thread computes them, over the threads.
fn pass_seconds(context: &Context<'_>, source: &Source) -> Result<f64> {
    let network = network(context, &source.training)?;
    let victim = context.victim(&network)?;
    let images = examples::first(context.sets.test_images()?, N_TIMED);
    let started = Instant::now();
    victim.pullback(&images.pixels, |_, _, seeds| seeds[0] = 1.0)?;
    let seconds = started.elapsed().as_secs_f64() / images.len() as f64;
    Ok(seconds / rayon::current_num_threads() as f64)
}

/// How often at most an attack needs an image's gradient (JSMA: toward one class); an image's logits
/// alone are a third.
fn passes(spec: &AttackSpec, n_pixels: usize) -> usize {
    let targets = |n: usize| n.max(1);
    match spec {
        AttackSpec::Fgsm(_) => 1,
        AttackSpec::Bim(bim) => bim.n_steps,
        AttackSpec::Pgd(pgd) => pgd.n_steps * pgd.restarts,
        AttackSpec::MiFgsm(mi) => mi.n_steps,
        AttackSpec::DeepFool(deep) => deep.n_steps * deep.n_candidates,
        AttackSpec::CarliniWagner(cw) => cw.n_searches * cw.n_steps,
        AttackSpec::Jsma(jsma) => (jsma.gamma * n_pixels as f32) as usize,
        AttackSpec::Apgd(apgd) => apgd.n_steps * apgd.restarts * targets(apgd.n_target_classes),
        AttackSpec::Fab(fab) => 2 * fab.n_steps * fab.restarts * targets(fab.n_target_classes),
        AttackSpec::Square(square) => square.n_queries / 3,
        AttackSpec::AutoAttack(auto) => 28 * auto.n_steps + auto.n_queries / 3,
    }
}
