//! Whether the folder of a run still has the checkpoints that its records tell of.

use std::path::{Path, PathBuf};

use kd_core::record::Record;
use kd_core::{Error, Result, checkpoint};

use super::choosing::candidate;
use super::context::Context;
use crate::suite::TrainingSpec;

/// Refuses to go on where somebody removed what `records` say was kept: another training in its
/// place would silently stand beside results of the first.
pub(super) fn check(context: &Context<'_>, records: &[Record]) -> Result<()> {
    for training in &context.spec.training {
        choice(context, training, records).iter().try_for_each(|path| whole(path))?;
    }
    for seed in 0..context.spec.seeds {
        for training in &context.spec.training {
            expected(context, (training, seed), records).iter().try_for_each(|path| whole(path))?;
        }
    }
    Ok(())
}

fn whole(path: &Path) -> Result<()> {
    checkpoint::find(path).map_err(|error| match error {
        Error::Missing { path, .. } => {
            let hint = "the records of the run tell of it; put it back, or begin the run again with \
                        --restart";
            Error::Missing { path, hint: hint.into() }
        }
        other => other,
    })
}

/// The state of the short training of candidates while it is not done; their weights are not kept.
fn choice(context: &Context<'_>, training: &TrainingSpec, records: &[Record]) -> Option<PathBuf> {
    let (choose, name) = (training.choose.as_ref()?, training.choice_name());
    let has_begun = |record: &Record| matches!(record, Record::Epoch(r) if r.id.training == name);
    let is_done = |record: &Record| candidate(record, training).is_some();
    let is_open = records.iter().any(has_begun) && !records.iter().any(is_done);
    is_open.then(|| context.folder.state(&name, choose.seed))
}

/// The checkpoints of a training with `seed`: those of its models when it is done, its own state when
/// it is not, none before it began.
fn expected(
    context: &Context<'_>,
    (training, seed): (&TrainingSpec, u64),
    records: &[Record],
) -> Vec<PathBuf> {
    let (mut has_begun, mut done) = (false, Vec::new());
    for record in records {
        let (of, id, is_last) = match record {
            Record::Epoch(r) => (r.seed, &r.id, false),
            Record::Curve(r) => (r.seed, &r.id, false),
            Record::Final(r) => (r.seed, &r.id, true),
            _ => continue,
        };
        if (of, &id.training) == (seed, &training.name) {
            has_begun = true;
            done.extend(is_last.then_some(&id.model));
        }
    }
    let folder = context.folder;
    if done.len() == training.student.len() {
        return done.iter().map(|model| folder.checkpoint(&training.name, seed, model)).collect();
    }
    has_begun.then(|| folder.state(&training.name, seed)).into_iter().collect()
}
