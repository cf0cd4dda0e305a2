//! `kd export`: weights to elsewhere, as safetensors for PyTorch or as ONNX.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use kd_core::{Error, Net, Result};
use kd_data::Split;
use kd_models::Names;
use kd_models::quantize::{Quantized, Range};
use kd_models::weights::ExportConfig;
use kd_ship::calibrated;

use super::exchange::{FileArgs, may_write};
use super::setting::DataDir;
use super::words::words;

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
    /// In ONNX, 8-bit integers, calibrated with training images of this data set, such as cifar10,
    /// folder:PATH or photos:PATH
    #[arg(long, value_name = "DATA")]
    int8: Option<String>,
    /// So many of them, evenly spaced
    #[arg(long, value_name = "N", default_value_t = 128)]
    calibration_images: usize,
    /// How far the 256 levels of an activation reach: over all values seen, as makes the squared error
    /// least, or without one in 10,000
    #[arg(long, default_value = "mse", value_parser = words(&Range::ALL))]
    calibration_range: Range,
    #[command(flatten)]
    data_dir: DataDir,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Safetensors,
    Onnx,
}

/// Loads the network and writes it, or shows its file.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let (Some(format), Some(out), false) = (args.format, &args.out, args.file.is_dry()) {
        check(args, format, out)?;
    }
    let Some(network) = args.file.load()? else { return Ok(()) };
    let Some(out) = &args.out else { return Ok(()) };
    match args.format {
        Some(Format::Onnx) => {
            network.save_onnx(out, args.softmax, quantized(args, &network.network)?.as_ref())?;
        }
        _ => println!("{}", network.save_for_pytorch(out, args.names)?.display()),
    }
    println!("{}", out.display());
    Ok(())
}

/// Refuses what cannot be written.
fn check(args: &Args, format: Format, out: &Path) -> Result<()> {
    may_write(out, args.force)?;
    match format {
        Format::Onnx => Ok(()),
        Format::Safetensors if args.int8.is_some() => {
            let reason = "8-bit integers are written as ONNX: --format onnx";
            Err(Error::config("int8", reason))
        }
        Format::Safetensors => may_write(&ExportConfig::path_beside(out), args.force),
    }
}

/// `network` in 8-bit integers, where that is asked for.
fn quantized(args: &Args, network: &Net) -> Result<Option<Quantized>> {
    let Some(name) = &args.int8 else { return Ok(None) };
    let data = kd_suite::data(name)?;
    let part = data.as_dyn().part(Some(&args.data_dir.path), Split::Train)?;
    calibrated(network, &part, args.calibration_images, args.calibration_range).map(Some)
}
