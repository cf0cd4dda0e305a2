//! `kd report`: the report of a run, written again from its metrics; two runs side by side; what finished runs
//! teach of one that has begun.

use std::path::PathBuf;

use kd_report::{Compared, Foresight};

use crate::exit;

/// Arguments of `kd report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders of runs
    #[arg(required_unless_present = "compare", value_name = "RUNDIR")]
    runs: Vec<PathBuf>,
    /// Set the second run beside the first, paired by seed
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"], conflicts_with = "runs")]
    compare: Vec<PathBuf>,
    /// Say from the first epoch of this run whether distilling will help, and with which alpha and temperature, as
    /// the finished RUNDIRs teach: an experiment, which says how often it was right among these
    #[arg(long, value_name = "BEGUN", conflicts_with = "compare")]
    foresee: Option<PathBuf>,
    /// Print each report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Writes report.html, report.md and report.json of each run and prints the short table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let [first, second] = &args.compare[..] {
        let compared = Compared::read(first, second)?;
        return exit::print_as(&compared, args.json, compared.to_markdown());
    }
    if let Some(begun) = &args.foresee {
        let foresight = Foresight::read(&args.runs, begun)?;
        return exit::print_as(&foresight, args.json, foresight.to_markdown());
    }
    args.runs.iter().try_for_each(|path| {
        let report = kd_report::write_report(path)?;
        exit::print_as(&report, args.json, kd_report::results_table(&report))
    })
}
