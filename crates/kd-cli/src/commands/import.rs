//! `kd import`: weights from elsewhere, as a safetensors file of ours.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::Device;
use kd_core::checkpoint::Description;
use kd_core::{Classifier, Error};
use kd_models::Names;
use kd_models::weights::{save_network, save_safetensors};

use super::exchange::{ImageArgs, may_write, show};
use super::setting::{NamingArgs, TrainedArgs};
use super::words::words;
use kd_suite::model;
use kd_suite::weights::{self, Loaded, Wanted};

/// Arguments of `kd import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// PyTorch checkpoint (.pt, .pth, .th) or safetensors file; read as data, never executed
    file: PathBuf,
    /// The network that the weights are for, such as resnet20
    #[arg(long, required_unless_present = "dry_run")]
    model: Option<String>,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    normalize: TrainedArgs,
    #[command(flatten)]
    naming: NamingArgs,
    /// Whose names they are
    #[arg(long, default_value = "torchvision", value_parser = words(&Names::ALL))]
    names: Names,
    /// What its classes are called: a file of a name a line, or JSON, such as a config.json with
    /// label_names or id2label [default: what the file says beside the weights]
    #[arg(long, value_name = "FILE")]
    class_names: Option<PathBuf>,
    /// Only print what is in the file and what would become of it
    #[arg(long)]
    dry_run: bool,
    /// The safetensors file to write
    #[arg(long, value_name = "PATH", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Write over what is there
    #[arg(long)]
    force: bool,
}

/// Reads, checks against the network, and writes.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let model = args.model.as_deref().map(model).transpose()?;
    let (normalize, naming) = (args.normalize.given(), args.naming.naming(args.names));
    let wanted = Wanted {
        model: model.as_ref(),
        normalize: normalize.as_ref(),
        image_shape: args.images.image_shape,
        n_classes: args.images.classes,
        naming: Some(&naming),
        ..Wanted::default()
    };
    let Some(out) = args.out.as_deref().filter(|_| !args.dry_run) else {
        let mut contents = weights::contents(&args.file, &wanted)?;
        // What is there is all that is asked for.
        contents.fault = contents.fault.filter(|_| model.is_some());
        return show(&args.file, contents);
    };
    may_write(out, args.force)?;
    let mut loaded = weights::load(&args.file, &wanted, &Device::Cpu)?;
    loaded.tell(&args.file);
    if let Some(path) = &args.class_names {
        loaded.class_names = class_names(path, loaded.network.n_classes())?;
    }
    write(loaded, out)?;
    Ok(ExitCode::SUCCESS)
}

/// As many names as there are classes.
fn class_names(path: &Path, n: usize) -> kd_core::Result<Vec<String>> {
    let names = weights::class_names(path)?;
    if names.len() == n {
        return Ok(names);
    }
    let reason = format!("{} has {} names, the network {n} classes", path.display(), names.len());
    Err(Error::config("class-names", reason))
}

/// Writes the weights, and what network they are of where its normalization is known.
fn write(loaded: Loaded, out: &Path) -> anyhow::Result<()> {
    let Loaded { network, name, class_names, resize, temperature, .. } = loaded;
    let (graph, tensors) = (network.graph().clone(), network.params().tensors());
    if graph.normalization().is_some() {
        let known = Description::new(name, graph);
        let known = Description { class_names, resize, temperature, ..known };
        save_network(out, &tensors, &known)?;
    } else {
        eprintln!(
            "{}: will not say what network it holds, nor what its classes are called, as it is not known \
             how that normalizes images: no --mean and --std",
            out.display()
        );
        save_safetensors(out, &tensors)?;
    }
    let n_numbers: usize = tensors.values().map(candle_core::Tensor::elem_count).sum();
    println!("{}: {} tensors, {n_numbers} numbers", out.display(), tensors.len());
    Ok(())
}
