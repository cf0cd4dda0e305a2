//! `kd report`: the report of a run, written again from its metrics.

use std::path::PathBuf;

use crate::exit;

/// Arguments of `kd report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders of runs
    #[arg(required = true, value_name = "RUNDIR")]
    runs: Vec<PathBuf>,
    /// Print each report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Writes report.html, report.md and report.json of each run and prints the short table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.runs.iter().try_for_each(|path| {
        let report = kd_report::write_report(path)?;
        exit::print_as(&report, args.json, kd_report::results_table(&report))
    })
}
