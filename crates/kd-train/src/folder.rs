//! A training with its files in one folder.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kd_core::{Error, Result, fsx};

use crate::cohort::Cohort;
use crate::course::{Data, Outcome, Run};
use crate::fit::fit;
use crate::metrics_log::MetricsLog;
use crate::plan::Plan;
use crate::progress::Counters;

/// [`fit`] with `metrics.jsonl` and `checkpoint` in `folder`, which is made; from the checkpoint
/// there, if there is one of this plan.
///
/// # Errors
/// As [`fit`]; [`Error::Config`] for a checkpoint of another plan or cohort; [`Error::Io`].
pub fn fit_in(folder: &Path, cohort: &mut Cohort, plan: &Plan, data: Data<'_>) -> Result<Outcome> {
    fsx::create_folder(folder)?;
    let checkpoint = folder.join("checkpoint");
    let spec = serde_json::to_string(plan).map_err(|e| Error::config("plan", e.to_string()))?;
    let mut metrics = MetricsLog::open(&folder.join("metrics.jsonl"))?;
    let n_bytes = cohort.resume(&checkpoint, &spec, &data.train.device())?;
    metrics.truncate(n_bytes.unwrap_or(0))?;
    let mut run = Run {
        metrics: &mut metrics,
        checkpoint: &checkpoint,
        spec_hash: &spec,
        checkpoint_every: Duration::from_secs(60),
        checkpoint_within: Duration::from_secs(600),
        stop: &AtomicBool::new(false),
        counters: &Counters::default(),
    };
    fit(cohort, plan, data, &mut run)
}
