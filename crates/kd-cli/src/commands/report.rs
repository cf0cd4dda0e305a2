//! `kd report`: the report of a run, written again from its metrics.

use std::path::PathBuf;

use kd_report::Report;

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
    args.runs.iter().try_for_each(|path| print(&kd_report::write_report(path)?, args.json))
}

/// Prints the short table, or one JSON object.
pub(super) fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    match json {
        true => println!("{}", serde_json::to_string(report)?),
        false => println!("{}", kd_report::results_table(report)),
    }
    Ok(())
}
