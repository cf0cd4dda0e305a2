//! `kd export`: weights to elsewhere, as safetensors for PyTorch or as ONNX.

use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::Device;
use clap::ValueEnum;
use kd_core::{Classifier, Error, Result};
use kd_models::Names;
use kd_models::onnx::{self, ExportInfo};
use kd_models::weights::{ExportConfig, ImageConfig, save_for_pytorch};

use super::exchange::{ImageArgs, names};
use super::train::model;
use crate::weights;

/// Arguments of `kd export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The network, such as resnet18-cifar
    #[arg(long)]
    model: String,
    /// Checkpoint folder, safetensors file or PyTorch checkpoint
    #[arg(long, value_name = "PATH")]
    weights: PathBuf,
    /// safetensors (with a config.json beside it) or onnx
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Whose names a ResNet's weights get in safetensors
    #[arg(long, default_value = "torchvision", value_parser = names())]
    names: Names,
    #[command(flatten)]
    images: ImageArgs,
    /// Mean of each channel that the network was trained with, for pixels in [0, 1]
    #[arg(long, value_delimiter = ',', requires = "std", value_name = "X,..")]
    mean: Option<Vec<f32>>,
    /// Standard deviation of each channel
    #[arg(long, value_delimiter = ',', requires = "mean", value_name = "X,..")]
    std: Option<Vec<f32>>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Safetensors,
    Onnx,
}

/// Loads the network and writes it.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = config(args)?;
    let spec = model(&args.model)?;
    let shape = (args.images.image_shape, args.images.classes);
    let network = weights::load_model(&spec, &args.weights, shape, &Device::Cpu)?;
    let tensors = network.params().tensors();
    match args.format {
        Format::Safetensors => {
            save_for_pytorch(&args.out, &tensors, args.names)?;
            println!("{}", config.save_beside(&args.out)?.display());
        }
        Format::Onnx => {
            let graph = spec.as_dyn().graph(args.images.image_shape, args.images.classes)?;
            let graph = match (&args.mean, &args.std) {
                (Some(mean), Some(std)) => graph.normalized(mean, std)?,
                _ => graph,
            };
            let provenance = [("architecture".to_owned(), args.model.clone())].into();
            let info = ExportInfo { provenance, ..ExportInfo::default() };
            onnx::save(&args.out, &graph, &tensors, &info)?;
        }
    }
    println!("{}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn config(args: &Args) -> Result<ExportConfig> {
    let ImageArgs { classes, image_shape } = args.images;
    for (field, values) in [("mean", &args.mean), ("std", &args.std)] {
        if values.as_ref().is_some_and(|values| values.len() != image_shape[0]) {
            let reason = format!("one number for each of {} channels is needed", image_shape[0]);
            return Err(Error::config(field, reason));
        }
    }
    if args.mean.is_none() {
        eprintln!("the file will not say how images are normalized: no --mean and --std");
    }
    Ok(ExportConfig {
        architecture: args.model.clone(),
        num_classes: classes,
        pretrained_cfg: ImageConfig {
            input_size: image_shape,
            mean: args.mean.clone(),
            std: args.std.clone(),
            num_classes: classes,
        },
    })
}
