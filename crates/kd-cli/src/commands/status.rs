//! `kd status`: where a run stands that is divided into tasks.

use std::path::PathBuf;

use kd_suite::Status;

use crate::exit;

/// Arguments of `kd status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of a run that is divided into tasks
    #[arg(value_name = "RUNDIR")]
    run: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints where each part of a run stands.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    exit::print(&Status::read(&args.run)?, args.json)
}
