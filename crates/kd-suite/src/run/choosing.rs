//! Choosing the objectives of students by held-out images.
//!
//! Key decision: the candidates of all students are trained in one cohort, which is given no test images,
//! so that none of them can have a say.

use kd_core::record::{CandidateRecord, Evaluation, ModelId, Objective, Record};
use kd_core::{Classifier, Error, Result};
use kd_train::{Cohort, EvalSet, LossSpec, MetricsLog, Student, calibrated_temperature, score_at};

use super::context::Context;
use super::finish::compute;
use super::training::{Task, no_holdout, work};
use crate::suite::{ChooseSpec, TrainingSpec};

/// Trains the candidates of `training`, or goes on with it, and records which are chosen; returns the
/// wall time in seconds, or nothing when it was interrupted.
pub(super) fn run(
    context: &Context<'_>,
    training: &TrainingSpec,
    (records, log): (&[Record], &mut MetricsLog),
) -> Result<Option<f64>> {
    let (Some(choose), Some(choice)) = (&training.choose, training.choice()) else {
        return Ok(Some(0.0));
    };
    let found = records.iter().find_map(|record| candidate(record, training));
    let done = found.map(|candidate| candidate.seconds);
    let task = Task { training: &choice, seed: choose.seed, may_diverge: true, test: None, done };
    work(context, &task, log, |cohort, data, log| {
        let holdout =
            data.holdout.ok_or_else(|| no_holdout("choose", "candidates are compared on"))?;
        for candidate in measured((training, choose), cohort, holdout)? {
            tell(&candidate);
            log.append(&Record::Candidate(candidate.into()))?;
        }
        log.sync()
    })
}

/// `training`, whose students have the objectives that were chosen, if any were to be.
///
/// # Errors
/// [`Error::Config`] when the records of the run lack them.
pub(super) fn settled(context: &Context<'_>, training: &TrainingSpec) -> Result<TrainingSpec> {
    if training.choose.is_none() {
        return Ok(training.clone());
    }
    let records = context.folder.records()?;
    training.with_losses(|student| {
        if student.losses.is_empty() {
            return Ok(student.loss.clone());
        }
        let mut own = records.iter().filter_map(|record| candidate(record, training));
        let chosen = own.find(|candidate| candidate.chosen && candidate.id.model == student.name);
        let loss = chosen.and_then(|chosen| student.losses.get(chosen.candidate.checked_sub(1)?));
        loss.cloned().ok_or_else(|| {
            let reason = format!("no record says which objective `{}` has", student.name);
            Error::config("choose", reason + "; begin the run again with --restart")
        })
    })
}

/// The record of a candidate of `training`, if `record` is one.
pub(super) fn candidate<'r>(
    record: &'r Record,
    training: &TrainingSpec,
) -> Option<&'r CandidateRecord> {
    match record {
        Record::Candidate(candidate) if candidate.id.training == training.name => Some(candidate),
        _ => None,
    }
}

/// Every candidate on the held-out images; the best of each student is chosen.
fn measured(
    (training, choose): (&TrainingSpec, &ChooseSpec),
    cohort: &Cohort,
    holdout: &EvalSet,
) -> Result<Vec<CandidateRecord>> {
    let places = training.student.iter().flat_map(|student| {
        student.losses.iter().enumerate().map(move |(i, loss)| (&student.name, i + 1, loss))
    });
    let record = |((name, place, loss), trained): ((&String, usize, &LossSpec), &Student)| {
        let held_out = match trained.has_diverged() {
            true => None,
            false => {
                Some(held_out(&*trained.model, holdout)?).filter(|figures| figures.nll.is_finite())
            }
        };
        Ok(CandidateRecord {
            seed: cohort.seed,
            id: ModelId::new(&training.name, name),
            cohort: cohort.training.clone(),
            candidate: place,
            most: choose.n_candidates,
            loss: Objective::of(loss)?,
            n_epochs: choose.plan.n_epochs,
            n_holdout: holdout.n_images(),
            holdout_top1: held_out.as_ref().map(|held_out| held_out.top1),
            holdout_nll: held_out.map(|held_out| held_out.nll),
            chosen: false,
            compute: compute(cohort, trained),
            seconds: cohort.seconds(),
        })
    };
    let mut all = places.zip(&cohort.students).map(record).collect::<Result<Vec<_>>>()?;
    for student in &training.student {
        let own = all.iter_mut().filter(|candidate| candidate.id.model == student.name);
        let own = own.filter(|candidate| candidate.holdout_top1.is_some());
        match own.reduce(better) {
            Some(best) => best.chosen = true,
            None if student.losses.is_empty() => {}
            None => {
                let reason = format!("no candidate of `{}` has a finite loss", student.name);
                return Err(Error::config("choose", reason));
            }
        }
    }
    Ok(all)
}

/// How a network does on held-out images, at the temperature that suits them best.
fn held_out(model: &dyn Classifier, holdout: &EvalSet) -> Result<Evaluation> {
    let (logits, labels) = holdout.logits(model)?;
    let n_classes = holdout.n_classes();
    let temperature = calibrated_temperature(&logits, &labels, n_classes);
    Ok(score_at(&logits, &labels, n_classes, temperature))
}

/// The one that is right more often; of equals the one of less negative log-likelihood, of equals the
/// one that stands first.
fn better<'c>(
    first: &'c mut CandidateRecord,
    other: &'c mut CandidateRecord,
) -> &'c mut CandidateRecord {
    let figures = |one: &CandidateRecord| {
        [one.holdout_top1, one.holdout_nll.map(|nll| -nll)].map(|x| x.unwrap_or(f64::NEG_INFINITY))
    };
    let ([top1, nll], [other_top1, other_nll]) = (figures(first), figures(other));
    let is_better = other_top1.total_cmp(&top1).then(other_nll.total_cmp(&nll)).is_gt();
    if is_better { other } else { first }
}

fn tell(candidate: &CandidateRecord) {
    let CandidateRecord { id, candidate: place, holdout_top1, holdout_nll, chosen, .. } = candidate;
    let figures = match holdout_top1.zip(*holdout_nll) {
        Some((top1, nll)) => format!("held out {:.2} %, NLL {nll:.4}", 100.0 * top1),
        None => "its loss is not finite any more".into(),
    };
    let chosen = if *chosen { ", chosen" } else { "" };
    eprintln!("{id}: candidate {place}: {figures}{chosen}");
}

#[cfg(test)]
#[path = "choosing_tests.rs"]
mod tests;
