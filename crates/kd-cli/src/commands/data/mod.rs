//! `kd data`: makes data sets ready on the disk.

mod imagenet;
mod pack;

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
}

/// Calls the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Imagenet(args) => imagenet::run(args),
        Command::Pack(args) => pack::run(args),
    }
}
