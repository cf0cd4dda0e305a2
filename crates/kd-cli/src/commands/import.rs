//! `kd import`: weights from elsewhere, as a safetensors file of ours.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::Device;
use kd_core::checkpoint::Description;
use kd_core::{Graph, Result};
use kd_models::weights::{Fate, Fit, Naming, Prefix, WeightsFile, save_network, save_safetensors};
use kd_models::{ModelSpec, Names};

use super::exchange::{ImageArgs, may_write};
use super::setting::{TrainedArgs, words};
use super::table;
use kd_suite::model;
use kd_suite::weights::{self, DEFAULT_SHAPE};

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
    /// Dictionary of the weights, names joined by dots [default: state_dict, model, net or the
    /// top level]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Take this away from the front of all names, such as `module.` with its dot
    #[arg(long, value_name = "PREFIX")]
    strip_prefix: Option<String>,
    /// Whose names they are
    #[arg(long, default_value = "torchvision", value_parser = words(&Names::ALL))]
    names: Names,
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
    let spec = args.model.as_deref().map(model).transpose()?;
    let file = WeightsFile::open(&args.file)?;
    let Some(spec) = spec else {
        let rows = file.list().into_iter().map(|(name, kind)| [name, kind]);
        table::print(&rows.collect::<Vec<[String; 2]>>(), "", &[]);
        return Ok(ExitCode::SUCCESS);
    };
    let graph = graph(args, &spec)?;
    let wanted = graph.param_shapes()?;
    let fit = file.fit(&naming(args), &wanted)?;
    match &args.out {
        Some(out) if !args.dry_run => {
            may_write(out, args.force)?;
            write(&fit, graph, spec.short_name(), out)?;
        }
        _ => {
            print_fit(&fit);
            fit.check()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn naming(args: &Args) -> Naming {
    let prefix = args.strip_prefix.clone().map_or(Prefix::None, Prefix::Given);
    Naming { key: args.key.clone(), prefix, names: args.names }
}

/// The network that the weights are for.
fn graph(args: &Args, spec: &ModelSpec) -> Result<Graph> {
    let ImageArgs { classes, image_shape } = args.images;
    let shape = (image_shape.unwrap_or(DEFAULT_SHAPE.0), classes.unwrap_or(DEFAULT_SHAPE.1));
    weights::graph(spec, shape, args.normalize.given().as_ref())
}

/// Writes the weights, and what network they are of where its normalization is known.
fn write(fit: &Fit<'_>, graph: Graph, name: String, out: &Path) -> anyhow::Result<()> {
    let tensors = fit.read(&Device::Cpu)?;
    if graph.normalization().is_some() {
        save_network(out, &tensors, &Description { name, graph, class_names: Vec::new() })?;
    } else {
        eprintln!(
            "{}: will not say what network it holds, as it is not known how that normalizes \
             images: no --mean and --std",
            out.display()
        );
        save_safetensors(out, &tensors)?;
    }
    let n_numbers: usize = tensors.values().map(candle_core::Tensor::elem_count).sum();
    println!("{}: {} tensors, {n_numbers} numbers", out.display(), tensors.len());
    Ok(())
}

fn print_fit(fit: &Fit<'_>) {
    let rows = fit.entries.iter().map(|entry| {
        let fate = match &entry.fate {
            Fate::Becomes(name) => format!("-> {name}"),
            Fate::Ignored => "ignored".into(),
            Fate::Unknown(name) => format!("-> {name}: unknown to the network"),
            Fate::WrongShape(name) => format!("-> {name}: of another shape"),
            Fate::NoWeights(name) => format!("-> {name}: no weights"),
        };
        [entry.name.to_owned(), entry.kind(), fate]
    });
    let missing = fit
        .missing
        .iter()
        .map(|name| ["(nothing)".into(), String::new(), format!("-> {name}: missing")]);
    table::print(&rows.chain(missing).collect::<Vec<_>>(), "", &[]);
}
