//! `kd data`: makes data sets ready on the disk.

mod imagenet;
mod pack;
mod split;
mod sums;
mod views;

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
    /// Divide one folder of class folders into `train`, `val` and `test`, by class
    Split(split::Args),
    /// Write SHA-256 checksums of class folders, or check them; readers then compare every image
    Sums(sums::Args),
    /// List exactly which part of which image a training shows, for a teacher that runs elsewhere
    Views(views::Args),
}

/// Calls the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Imagenet(args) => imagenet::run(args),
        Command::Pack(args) => pack::run(args),
        Command::Split(args) => split::run(args),
        Command::Sums(args) => sums::run(args),
        Command::Views(args) => views::run(args),
    }
}

/// What the folders of parts are called, in any case.
const PARTS: [&str; 8] =
    ["train", "training", "val", "valid", "validation", "dev", "test", "testing"];

/// The parts of `folder` that are there; the empty name for the folder itself.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_part = |name: &String| PARTS.iter().any(|part| name.eq_ignore_ascii_case(part));
    let mut there: Vec<_> =
        names.filter(|name| is_part(name) && folder.join(name).is_dir()).collect();
    there.sort_by_key(|name| PARTS.iter().position(|part| name.eq_ignore_ascii_case(part)));
    if there.is_empty() { vec![String::new()] } else { there }
}

/// The folder of a part.
fn place(root: &Path, name: &str) -> PathBuf {
    if name.is_empty() { root.into() } else { root.join(name) }
}
