//! `kd data`: makes data sets ready on the disk.

mod imagenet;
mod pack;
mod split;
mod sums;
mod views;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use kd_data::part_names;
use serde::Serialize;

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
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::Imagenet(args) => imagenet::run(args),
        Command::Pack(args) => pack::run(args),
        Command::Split(args) => split::run(args),
        Command::Sums(args) => sums::run(args),
        Command::Views(args) => views::run(args),
    }
}

/// Does `work` for each part of `folder`, by its name, and prints what came of it.
fn parts<T: Serialize + Display>(
    (folder, json): (&Path, bool),
    work: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let mut done = Vec::new();
    for name in part_names(folder) {
        let part = work(&name)?;
        if !json {
            println!("{part}");
        }
        done.push(part);
    }
    if json {
        println!("{}", serde_json::json!({ "parts": done }));
    }
    Ok(done)
}

/// The folder of a part; the one without a name is the whole.
fn place(root: &Path, name: &str) -> PathBuf {
    if name.is_empty() { root.into() } else { root.join(name) }
}
