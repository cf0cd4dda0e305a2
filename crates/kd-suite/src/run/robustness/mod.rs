//! What is asked of the models that the trainings of a seed end with: census, attacks, audits.
//!
//! A job's record is written when the job is done, so that a run that goes on makes only what is
//! missing; an attack that was interrupted goes on with the images that are left.

mod attack;
mod bench;
mod job;

use std::time::Instant;

use kd_core::Result;
use kd_core::record::{AttackRecord, Record};
use kd_train::MetricsLog;

use super::training::Context;
use crate::suite::Source;
use bench::Bench;
pub(super) use job::{Job, jobs};

/// Does what is left to do with `seed`; returns its wall time in seconds, or nothing when it was
/// interrupted.
pub(super) fn run(context: &Context<'_>, seed: u64, log: &mut MetricsLog) -> Result<Option<f64>> {
    let bench = Bench { context, seed };
    let records = context.folder.records()?;
    let mut seconds = 0.0;
    for job in jobs(&context.spec.robustness) {
        if let Some(record) = records.iter().find(|record| job.is_recorded_by(record, seed)) {
            seconds += attack_seconds(record).unwrap_or(0.0);
            continue;
        }
        let started = Instant::now();
        let Some(record) = bench.run(&job)? else { return Ok(None) };
        log.append(&record)?;
        log.sync()?;
        seconds += attack_seconds(&record).unwrap_or_else(|| started.elapsed().as_secs_f64());
    }
    worst_cases(&bench, &records, log)?;
    bench.forget_state()?;
    Ok(Some(seconds))
}

/// The wall time of an attack, over all processes that worked on it.
fn attack_seconds(record: &Record) -> Option<f64> {
    match record {
        Record::Attack(record) => Some(record.seconds),
        _ => None,
    }
}

/// Joins the attacks on each model, image by image, where that was not done before.
fn worst_cases(bench: &Bench<'_>, records: &[Record], log: &mut MetricsLog) -> Result<()> {
    let mut sources: Vec<&Source> = Vec::new();
    for source in bench.context.spec.robustness.attack.iter().flat_map(|attack| &attack.models) {
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    for source in sources {
        for record in bench.worst_cases(source)? {
            let is_this = |other: &&AttackRecord| {
                AttackRecord { seconds: other.seconds, ..record.clone() } == **other
            };
            if !attacks(records).any(|other| is_this(&other)) {
                log.append(&Record::Attack(record))?;
            }
        }
    }
    log.sync()
}

fn attacks(records: &[Record]) -> impl Iterator<Item = &AttackRecord> {
    records.iter().filter_map(|record| match record {
        Record::Attack(record) => Some(record),
        _ => None,
    })
}
