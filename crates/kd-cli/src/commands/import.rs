//! `kd import`: weights from elsewhere, as a safetensors file of ours.

use std::path::PathBuf;

use kd_models::Names;
use kd_suite::NetworkFile;

use super::exchange::{ImageArgs, may_write, show};
use super::setting::{NamingArgs, NormalizeArgs};
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
    normalize: NormalizeArgs,
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
    let mut loaded = source.load()?;
    if let Some(path) = &args.class_names {
        loaded = loaded.with_class_names(path)?;
    }
    println!("{}", loaded.save(out)?);
    Ok(())
}
