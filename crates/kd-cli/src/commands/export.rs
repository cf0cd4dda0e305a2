//! `kd export`: weights to elsewhere, as safetensors for PyTorch or as ONNX.

use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::Device;
use clap::ValueEnum;
use kd_core::{Classifier, Error, Result};
use kd_models::Names;
use kd_models::onnx::{self, ExportInfo};
use kd_models::weights::{ExportConfig, ImageConfig, save_for_pytorch};

use super::exchange::{ImageArgs, may_write};
use super::int8::Int8Args;
use super::setting::{NetworkArgs, TrainedArgs};
use super::words::words;
use kd_suite::weights::{self, Loaded, Wanted};

/// What a file says of who wrote it.
const VERSION: &str = concat!("kd ", env!("CARGO_PKG_VERSION"));

/// Arguments of `kd export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    network: NetworkArgs,
    /// safetensors (with a config.json beside it) or onnx
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
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
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    normalize: TrainedArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Safetensors,
    Onnx,
}

/// Loads the network and writes it.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    may_write(&args.out, args.force)?;
    if matches!(args.format, Format::Safetensors) {
        if args.int8.is_wanted() {
            let reason = "8-bit integers are written as ONNX: --format onnx";
            return Err(Error::config("int8", reason).into());
        }
        may_write(&ExportConfig::path_beside(&args.out), args.force)?;
    }
    let loaded = load(args)?;
    let network = &loaded.network;
    let tensors = network.params().tensors();
    match args.format {
        Format::Safetensors => {
            let config = config(&loaded);
            save_for_pytorch(&args.out, &tensors, args.names)?;
            println!("{}", config.save_beside(&args.out)?.display());
        }
        Format::Onnx => {
            let info = info(args, &loaded);
            match args.int8.quantized(network)? {
                Some(quantized) => onnx::save_quantized(&args.out, &quantized, &info)?,
                None => onnx::save(&args.out, network.graph(), &tensors, &info)?,
            }
        }
    }
    println!("{}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn load(args: &Args) -> Result<Loaded> {
    let model = args.network.model()?;
    let normalize = args.normalize.given();
    let (path, naming) = (args.network.weights()?, args.network.naming());
    let wanted = Wanted {
        model: model.as_ref(),
        normalize: normalize.as_ref(),
        image_shape: args.images.image_shape,
        n_classes: args.images.classes,
        naming: Some(&naming),
        ..Wanted::default()
    };
    let loaded = weights::load(path, &wanted, &Device::Cpu)?;
    loaded.tell(path);
    Ok(loaded)
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
