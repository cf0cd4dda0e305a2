//! `kd data sums`: checksums of class folders, written once and checked.

use std::path::{Path, PathBuf};

use kd_core::Result;
use kd_data::{Checksums, Summed, refuse_told};
use kd_suite::Progress;

use super::{parts, place};
use crate::commands::setting::Common;

/// Arguments of `kd data sums`.
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("sums.txt"))]
pub(crate) struct Args {
    /// Class folders of images, or a folder in which `train` and `val` hold them
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Only compare every image with SHA256SUMS, which must be there
    #[arg(long, conflicts_with = "force")]
    check: bool,
    /// Write SHA256SUMS anew where it is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

/// Writes or checks the checksums, part by part.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let parts = parts((&args.folder, args.common.json), |name| {
        args.common.install(|| sum(args, &place(&args.folder, name)))
    })?;
    let n_faults = parts.iter().map(|part| part.faults.len()).sum();
    let advice =
        "; restore the images, or if all are as they should be, --force writes SHA256SUMS anew";
    Ok(refuse_told(&args.folder, n_faults, advice)?)
}

/// Writes the checksums of one part, or compares the images with those that are there.
fn sum(args: &Args, path: &Path) -> Result<Summed> {
    let sums = Checksums::of(path)?;
    sums.remarks().iter().for_each(|line| eprintln!("{line}"));
    let progress = Progress::start(path.display().to_string(), 0, sums.n_images() as u64);
    let anew = !args.check && (args.force || !sums.are_written());
    sums.settle(anew, &progress.counters.steps)
}
