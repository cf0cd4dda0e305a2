//! `kd data`: makes data sets ready on the disk.

mod imagenet;
mod pack;
mod sums;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `kd data`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Sort ImageNet's validation images into class folders, and unpack its training images
    Imagenet(imagenet::Args),
    /// Make photographs smaller once and pack them, for repeated runs
    Pack(pack::Args),
    /// Write SHA-256 checksums of class folders, or check them; readers then compare every image
    Sums(sums::Args),
}

/// Calls the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Imagenet(args) => imagenet::run(args),
        Command::Pack(args) => pack::run(args),
        Command::Sums(args) => sums::run(args),
    }
}

/// The parts of `folder` that are there; the empty name for the folder itself.
fn names(folder: &Path) -> Vec<&'static str> {
    let parts = ["train", "val", "test"].into_iter();
    let there: Vec<_> = parts.filter(|name| folder.join(name).is_dir()).collect();
    if there.is_empty() { vec![""] } else { there }
}

/// The folder of a part.
fn place(root: &Path, name: &str) -> PathBuf {
    if name.is_empty() { root.into() } else { root.join(name) }
}
