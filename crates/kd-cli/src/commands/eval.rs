//! `kd eval`: a checkpoint on a data set.

use super::exchange::show;
use super::setting::{Compute, SubjectArgs};
use crate::exit;

/// Arguments of `kd eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    compute: Compute,
}

/// Evaluates and prints the figures.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let subject = args.subject.on(args.compute.device()?, &args.compute)?;
    if args.subject.network.dry_run {
        return show(&subject.network.path, subject.contents()?);
    }
    exit::print(&args.compute.common.install(|| subject.evaluate())?, args.compute.common.json)
}
