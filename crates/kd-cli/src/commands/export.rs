//! `kd export`: weights to elsewhere, as safetensors for PyTorch or as ONNX.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use kd_core::{Classifier, Error, Result};
use kd_models::Names;
use kd_models::onnx::{self, ExportInfo};
use kd_models::weights::{ExportConfig, ImageConfig, save_for_pytorch};

use super::exchange::{FileArgs, may_write};
use super::int8::Int8Args;
use super::words::words;
use kd_suite::weights::Loaded;

/// What a file says of who wrote it.
const VERSION: &str = concat!("kd ", env!("CARGO_PKG_VERSION"));

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
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match (args.format, &args.out) {
        (Some(format), Some(out)) if !args.file.is_dry() => {
            check(args, format, out)?;
            write(args, &args.file.load()?, (format, out))
        }
        _ => args.file.show(),
    }
}

/// Refuses what cannot be written.
fn check(args: &Args, format: Format, out: &Path) -> Result<()> {
    may_write(out, args.force)?;
    if matches!(format, Format::Safetensors) {
        if args.int8.is_wanted() {
            let reason = "8-bit integers are written as ONNX: --format onnx";
            return Err(Error::config("int8", reason));
        }
        may_write(&ExportConfig::path_beside(out), args.force)?;
    }
    Ok(())
}

fn write(args: &Args, loaded: &Loaded, (format, out): (Format, &Path)) -> anyhow::Result<ExitCode> {
    let network = &loaded.network;
    let tensors = network.params().tensors();
    match format {
        Format::Safetensors => {
            let config = config(loaded);
            save_for_pytorch(out, &tensors, args.names)?;
            println!("{}", config.save_beside(out)?.display());
        }
        Format::Onnx => {
            let info = info(args, loaded);
            match args.int8.quantized(network)? {
                Some(quantized) => onnx::save_quantized(out, &quantized, &info)?,
                None => onnx::save(out, network.graph(), &tensors, &info)?,
            }
        }
    }
    println!("{}", out.display());
    Ok(ExitCode::SUCCESS)
}

fn info(args: &Args, loaded: &Loaded) -> ExportInfo {
    let names = Some(loaded.class_names.clone()).filter(|names| !names.is_empty());
    let provenance = [("architecture", loaded.name.clone()), ("producer", VERSION.into())];
    ExportInfo {
        class_names: names,
        resize: loaded.resize,
        temperature: loaded.temperature,
        provenance: provenance.map(|(key, value)| (key.into(), value)).into(),
        softmax_temperature: args.softmax,
    }
}

fn config(loaded: &Loaded) -> ExportConfig {
    let (graph, num_classes) = (loaded.network.graph(), loaded.network.n_classes());
    let normalize = graph.normalization();
    if normalize.is_none() {
        eprintln!("the file will not say how images are normalized: no --mean and --std");
    }
    ExportConfig {
        architecture: loaded.name.clone(),
        num_classes,
        label_names: loaded.class_names.clone(),
        pretrained_cfg: ImageConfig {
            input_size: graph.image_shape,
            mean: normalize.map(|normalize| normalize.mean.clone()),
            std: normalize.map(|normalize| normalize.std.clone()),
            num_classes,
        },
    }
}
