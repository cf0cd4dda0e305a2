//! `kd export`: weights to elsewhere, as safetensors for PyTorch or as ONNX.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use kd_core::{Classifier, Error, Result};
use kd_models::Names;
use kd_models::onnx::{self, ExportInfo};
use kd_models::weights::{ExportConfig, save_for_pytorch};

use super::exchange::{FileArgs, may_write};
use super::int8::Int8Args;
use super::words::words;
use kd_suite::weights::Loaded;

/// Arguments of `kd export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// safetensors (with a config.json beside it) or onnx
    #[arg(long, value_enum, required_unless_present = "dry_run")]
    format: Option<Format>,
    /// The file to write
    #[arg(long, value_name = "PATH", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Write over what is there
    #[arg(long)]
    force: bool,
    /// In ONNX, put a softmax at this temperature behind the logits
    #[arg(long, value_name = "T")]
    softmax: Option<f32>,
    /// Whose names a ResNet's weights get in safetensors
    #[arg(long, default_value = "torchvision", value_parser = words(&Names::ALL))]
    names: Names,
    #[command(flatten)]
    int8: Int8Args,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Safetensors,
    Onnx,
}

/// Loads the network and writes it, or shows its file.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match (args.format, &args.out) {
        (Some(format), Some(out)) if !args.file.is_dry() => {
            check(args, format, out)?;
            Ok(write(args, &args.file.source()?.load()?, (format, out))?)
        }
        _ => args.file.show(),
    }
}

/// Refuses what cannot be written.
fn check(args: &Args, format: Format, out: &Path) -> Result<()> {
    may_write(out, args.force)?;
    match format {
        Format::Onnx => Ok(()),
        Format::Safetensors if args.int8.is_wanted() => {
            let reason = "8-bit integers are written as ONNX: --format onnx";
            Err(Error::config("int8", reason))
        }
        Format::Safetensors => may_write(&ExportConfig::path_beside(out), args.force),
    }
}

fn write(args: &Args, loaded: &Loaded, (format, out): (Format, &Path)) -> Result<()> {
    let (network, known) = (&loaded.network, loaded.description());
    let tensors = network.params().tensors();
    match format {
        Format::Safetensors => {
            if known.graph.normalization().is_none() {
                eprintln!("the file will not say how images are normalized: no --mean and --std");
            }
            save_for_pytorch(out, &tensors, args.names)?;
            println!("{}", ExportConfig::of(&known)?.save_beside(out)?.display());
        }
        Format::Onnx => {
            let info = ExportInfo { softmax_temperature: args.softmax, ..ExportInfo::of(&known) };
            match args.int8.quantized(network)? {
                Some(quantized) => onnx::save_quantized(out, &quantized, &info)?,
                None => onnx::save(out, network.graph(), &tensors, &info)?,
            }
        }
    }
    println!("{}", out.display());
    Ok(())
}
