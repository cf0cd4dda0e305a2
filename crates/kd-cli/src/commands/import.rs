//! `kd import`: weights from elsewhere, as a safetensors file of ours.

use std::path::{Path, PathBuf};

use kd_core::{Classifier, Result};
use kd_models::Names;
use kd_models::weights::{save_network, save_safetensors};
use kd_suite::NetworkFile;
use kd_suite::weights::Loaded;

use super::exchange::{ImageArgs, may_write, show};
use super::setting::{NamingArgs, TrainedArgs};
use super::words::words;

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
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let naming = args.naming.naming(args.names);
    let file = NetworkFile::new(&args.file, args.model.as_deref(), naming)?;
    let source = args.images.source(file, args.normalize.given());
    let Some(out) = args.out.as_deref().filter(|_| !args.dry_run) else {
        let mut contents = source.contents()?;
        // What is there is all that is asked for.
        contents.fault = contents.fault.filter(|_| args.model.is_some());
        return show(&args.file, contents);
    };
    may_write(out, args.force)?;
    let loaded = source.load()?;
    Ok(write(
        args.class_names.iter().try_fold(loaded, |loaded, path| loaded.with_class_names(path))?,
        out,
    )?)
}

/// Writes the weights, and what network they are of where its normalization is known.
fn write(loaded: Loaded, out: &Path) -> Result<()> {
    let tensors = loaded.network.params().tensors();
    if loaded.network.graph().normalization().is_some() {
        save_network(out, &tensors, &loaded.description())?;
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
