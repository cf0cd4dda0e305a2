//! `kd cut`: a student that is the beginning of a teacher.

use std::path::PathBuf;

use kd_core::Classifier;
use kd_ship::{Cut, Part, cut_table, write_part};

use super::exchange::{FileArgs, may_write};

/// Arguments of `kd cut`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// The last node to keep; without --at, --macs and --shrink all that can be is printed
    #[arg(long, value_name = "NODE", conflicts_with = "macs", requires = "out")]
    at: Option<String>,
    /// Keep as many layers as have this share of the teacher's multiply-adds, such as 1/3 or 0.125
    #[arg(long, value_parser = Cut::share, value_name = "SHARE", requires = "out")]
    macs: Option<Cut>,
    /// Make the images so many times smaller first: the teacher with all its layers on small images
    #[arg(long, value_name = "K", requires = "out")]
    shrink: Option<usize>,
    /// Number of the student's classes [default: the teacher's]
    #[arg(long, value_name = "K")]
    student_classes: Option<usize>,
    /// Where the new layer's values come from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The file to write, STUDENT.onnx or STUDENT.safetensors
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Write over what is there
    #[arg(long)]
    force: bool,
}

/// Cuts and writes, or prints where the network can be cut.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(network) = args.file.load()? else { return Ok(()) };
    let graph = network.network.graph();
    let n_classes = args.student_classes.unwrap_or(network.network.n_classes());
    let node = args.at.clone().map(Cut::Node);
    let part = Part { shrink: args.shrink, cut: node.or_else(|| args.macs.clone()) };
    match &args.out {
        Some(out) if part != Part::default() => {
            let left = part.of(graph, n_classes)?;
            may_write(out, args.force)?;
            println!("{}", write_part(&network, left, args.seed, out)?);
        }
        _ => println!("{}", cut_table(graph, n_classes)?),
    }
    Ok(())
}
