//! What a run says of itself before all that it measures.

use std::path::Path;

use kd_core::fsx;
use kd_core::record::{Record, RunRecord};

use super::context::Context;
use super::setting::device_name;

/// What stands before all other records, and, after those of fewer seeds, before those of the new ones; nothing
/// where `records` have it.
pub(super) fn header(context: &Context<'_>, records: &[Record]) -> Vec<Record> {
    let n_seeds = records.iter().rev().find_map(|record| match record {
        Record::Run(run) => Some(run.seeds),
        _ => None,
    });
    let run = || Record::Run(provenance(context));
    match n_seeds {
        Some(n_seeds) if n_seeds == context.spec.seeds => Vec::new(),
        Some(_) => vec![run()],
        None => {
            let readings = context.spec.readings.iter().cloned().map(Record::Readings);
            std::iter::once(run()).chain(readings).collect()
        }
    }
}

fn provenance(context: &Context<'_>) -> RunRecord {
    let Context { spec, sets, setting, spec_hash, .. } = *context;
    RunRecord {
        suite: spec.suite.clone(),
        preset: spec.preset.clone(),
        synthetic: spec.data.as_dyn().is_synthetic(),
        reencoded: sets.are_reencoded(),
        class_names: sets.class_names().to_vec(),
        seeds: spec.seeds,
        device: device_name(&setting.device),
        cpu: cpu_name(),
        threads: rayon::current_num_threads(),
        spec_hash: spec_hash.into(),
        commit: env!("KD_COMMIT").into(),
        kd_version: env!("CARGO_PKG_VERSION").into(),
        candle_version: env!("CANDLE_VERSION").into(),
        data: sets.files(),
    }
}

/// The processor's name, where the system tells it.
fn cpu_name() -> String {
    let info = fsx::read_bounded(Path::new("/proc/cpuinfo"), 1 << 22, "").unwrap_or_default();
    let info = String::from_utf8_lossy(&info).into_owned();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or(std::env::consts::ARCH.into(), |(_, name)| name.trim().to_owned())
}
