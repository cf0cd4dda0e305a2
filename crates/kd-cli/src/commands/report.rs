//! `kd report`: the report of a run, written again from its metrics; two runs side by side.

use std::path::PathBuf;
use std::process::ExitCode;

use kd_report::{Compared, Report};

/// Arguments of `kd report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders of runs
    #[arg(required_unless_present = "compare", value_name = "RUNDIR")]
    runs: Vec<PathBuf>,
    /// Set the second run beside the first, paired by seed
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"], conflicts_with = "runs")]
    compare: Vec<PathBuf>,
    /// Print each report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Writes report.html, report.md and report.json of each run and prints the short table.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let [first, second] = &args.compare[..] {
        let compared = Compared::read(first, second)?;
        match args.json {
            true => println!("{}", serde_json::to_string(&compared)?),
            false => println!("{}", compared.to_markdown()),
        }
    }
    for path in &args.runs {
        print(&kd_report::write_report(path)?, args.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the short table, or one JSON object.
pub(super) fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    match json {
        true => println!("{}", serde_json::to_string(report)?),
        false => println!("{}", kd_report::results_table(report)),
    }
    Ok(())
}
