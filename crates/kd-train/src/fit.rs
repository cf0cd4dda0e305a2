//! THE training loop.

use std::time::{Duration, Instant};

use kd_core::Result;
use rayon::prelude::*;

use crate::cohort::Cohort;
use crate::course::{Course, Data, Outcome, Run};
use crate::measure::{curve_points, end_epoch};
use crate::plan::Plan;
use crate::prepared::Prepared;
use crate::progress::timed;
use crate::shards::{gather_optimizers, train_shards};
use crate::sharing::Sharing;
use crate::step::{settle, train_step};

/// Trains all students of `cohort` from where it stands to the end of the plan.
///
/// Each batch and each teacher forward serves all students, which step in parallel. Data order,
/// crops and dropout are functions of seed, epoch, step and image, so the result is the same bits
/// for any number of threads, alone or in a cohort, interrupted or not.
///
/// # Errors
/// [`kd_core::Error::Diverged`] when a loss is not finite; [`kd_core::Error::Config`] when an objective needs a
/// teacher or parts of networks that are not there, and when a step gives no parameter of a
/// student a gradient, naming the student; whatever data, networks and files report.
pub fn fit(cohort: &mut Cohort, plan: &Plan, data: Data<'_>, run: &mut Run<'_>) -> Result<Outcome> {
    let course = Course::new(plan, data, cohort)?;
    cohort.sharing = course.shards.as_ref().filter(|s| s.are_shared()).map(Sharing::new);
    let mut saved = Saved { at: Instant::now(), cost: Duration::ZERO };
    while !cohort.is_done(plan.n_epochs) {
        let epoch = cohort.epoch;
        let order = data.train.order(epoch);
        let todo: Vec<_> = order.chunks(plan.batch_size).skip(cohort.step as usize).collect();
        let mut groups = todo.chunks(AHEAD).map(|group| prepare_group(group, epoch, &course));
        let (first, time) = timed(|| groups.next().transpose());
        wait(cohort, run, time);
        let mut next = first?;
        while let Some(current) = next {
            // The next batches and their teacher forwards are made while the students learn.
            let (((stepped, busy), following), time) = timed(|| {
                rayon::join(
                    || timed(|| train_group(cohort, &current, &course, run)),
                    || groups.next().transpose(),
                )
            });
            stepped?;
            next = following?;
            wait(cohort, run, time.saturating_sub(busy));
            let stopped = course.is_stopped(run)?;
            let due = stopped || course.any(saved.is_old(run.checkpoint_within))?;
            if due && cohort.step < course.n_steps {
                saved = save(cohort, &course, run)?;
                if stopped {
                    return Ok(Outcome::Interrupted);
                }
            }
        }
        end_epoch(cohort, &course, run)?;
        let done = cohort.is_done(plan.n_epochs);
        let stopped = course.is_stopped(run)? && !done;
        if stopped || done || course.any(saved.is_old(run.checkpoint_every))? {
            saved = save(cohort, &course, run)?;
        }
        if stopped {
            return Ok(Outcome::Interrupted);
        }
    }
    cohort
        .students
        .iter()
        .try_for_each(|student| student.choice.restore(student.model.params()))?;
    Ok(Outcome::Finished)
}

/// Batches that are prepared at once, one thread each: fewer waits than sharing each one's work.
/// Twice as many are in memory.
pub const AHEAD: usize = 4;

/// A batch as this process has it: whole, or its shards.
type Portion = Vec<Prepared>;

fn prepare_group(group: &[&[u32]], epoch: u64, course: &Course<'_>) -> Result<Vec<Portion>> {
    if let Some(shards) = &course.shards {
        let prepare = |indices: &&[u32]| course.prepare_shards(shards, epoch, indices);
        return group.par_iter().map(prepare).collect();
    }
    let batches = prepare_batches(group, epoch, course)?;
    Ok(batches.into_iter().map(|prepared| vec![prepared]).collect())
}

fn prepare_batches(group: &[&[u32]], epoch: u64, course: &Course<'_>) -> Result<Vec<Prepared>> {
    let source = course.data.train;
    if source.device().is_cpu() {
        let prepare = |indices: &&[u32]| match course.recall(epoch, indices)? {
            Some(known) => Ok(known),
            None => course.prepare(epoch, source.batch(epoch, indices)?),
        };
        return group.par_iter().map(prepare).collect();
    }
    let batches = group.par_iter().map(|indices| source.batch(epoch, indices));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    batches.into_iter().map(|batch| course.prepare(epoch, batch)).collect()
}

/// One step for each batch of the group, or fewer when the run is stopped.
fn train_group(
    cohort: &mut Cohort,
    group: &[Portion],
    course: &Course<'_>,
    run: &mut Run<'_>,
) -> Result<()> {
    for portion in group {
        let stream = course.noise.number(cohort.steps_done(course.n_steps));
        let learning_rate = course.plan.rate(cohort.epoch, cohort.step, course.n_steps);
        let (n_images, time) = timed(|| match &course.shards {
            Some(shards) => {
                let n_rows = course.n_rows(cohort.step);
                train_shards(cohort, portion, (shards, n_rows), learning_rate, stream)
            }
            None => {
                let prepared = &portion[0];
                train_step(cohort, prepared, learning_rate, stream)?;
                Ok(prepared.batch.indices.len())
            }
        });
        let n_images = n_images?;
        cohort.step += 1;
        cohort.clock.stepping += time.as_secs_f64();
        run.counters.step(n_images);
        if cohort.is_at_curve_point(course) {
            curve_points(cohort, course, run)?;
        }
        if course.is_stopped(run)? {
            break;
        }
    }
    Ok(())
}

/// The last checkpoint: when it was written, and how long that took.
struct Saved {
    at: Instant,
    cost: Duration,
}

impl Saved {
    /// Whether another one is due: after `least`, but so rarely that writing takes no more than a
    /// twentieth of the time (a GPU trains ten ResNet-18s for an epoch in as long as they take to
    /// write). Without a least time each chance is taken.
    fn is_old(&self, least: Duration) -> bool {
        least.is_zero() || self.at.elapsed() >= least.max(19 * self.cost)
    }
}

/// Writes a checkpoint, on the first rank; the others wait for it.
fn save(cohort: &mut Cohort, course: &Course<'_>, run: &mut Run<'_>) -> Result<Saved> {
    let started = Instant::now();
    settle(cohort)?;
    if let Some(shards) = course.shards.as_ref().filter(|shards| shards.are_shared()) {
        gather_optimizers(cohort, shards)?;
    }
    if cohort.ranks.rank() == 0 {
        run.metrics.sync()?;
        cohort.save(run.checkpoint, run.spec_hash, run.metrics.n_bytes())?;
    }
    course.any(false)?;
    Ok(Saved { at: Instant::now(), cost: started.elapsed() })
}

/// Counts time in which the students waited.
fn wait(cohort: &mut Cohort, run: &Run<'_>, time: Duration) {
    cohort.clock.waiting += time.as_secs_f64();
    run.counters.wait(time);
}

#[cfg(test)]
mod mutual_tests;
#[cfg(test)]
mod shards_tests;
#[cfg(test)]
mod tests;
