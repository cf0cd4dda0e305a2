//! `kd list`: what a suite file can name.

use kd_suite::Registries;

use crate::exit;

/// Arguments of `kd list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints every registry with the default settings of its entries.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    exit::print(&Registries::all()?, args.json)
}
