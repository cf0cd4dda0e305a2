//! `kd import`: weights from elsewhere, as a safetensors file of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::Device;
use kd_core::checkpoint::Description;
use kd_core::{Graph, Result};
use kd_models::weights::{Entry, Fate, Fit, WeightsFile, save_network, save_safetensors};
use kd_models::{ModelSpec, Names};

use super::exchange::{ImageArgs, may_write};
use super::setting::{NamingArgs, TrainedArgs};
use super::table;
use super::words::words;
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
    #[command(flatten)]
    naming: NamingArgs,
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
    let fit = file.fit(&args.naming.naming(args.names), &wanted)?;
    let tell = || fit.notes().iter().for_each(|note| eprintln!("{}: {note}", args.file.display()));
    match &args.out {
        Some(out) if !args.dry_run => {
            may_write(out, args.force)?;
            weights::check_classes(&fit, &args.file)?;
            fit.check()?;
            tell();
            write(&fit, graph, spec.short_name(), out)?;
        }
        _ => {
            tell();
            print_fit(&file, &fit);
            weights::check_classes(&fit, &args.file)?;
            fit.check()?;
        }
    }
    Ok(ExitCode::SUCCESS)
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
        save_network(out, &tensors, &Description::new(name, graph))?;
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

/// Everything in the file, with what would become of it; and what the network lacks.
fn print_fit(file: &WeightsFile, fit: &Fit<'_>) {
    let path = |entry: &Entry| match fit.key.as_str() {
        "" => entry.name.to_owned(),
        key => format!("{key}.{}", entry.name),
    };
    let fates: BTreeMap<String, &Fate> =
        fit.entries.iter().map(|entry| (path(entry), &entry.fate)).collect();
    let rows = file.list().into_iter().map(|(path, kind)| {
        let fate = fates.get(&path).map_or("not loaded".into(), |fate| fate_words(fate));
        [path, kind, fate]
    });
    let missing = fit
        .missing
        .iter()
        .map(|name| ["(nothing)".into(), String::new(), format!("-> {name}: missing")]);
    table::print(&rows.chain(missing).collect::<Vec<_>>(), "", &[]);
}

/// What becomes of a tensor.
fn fate_words(fate: &Fate) -> String {
    match fate {
        Fate::Becomes(name) => format!("-> {name}"),
        Fate::Ignored => "ignored".into(),
        Fate::PassedOver => "passed over".into(),
        Fate::Unknown(name) => format!("-> {name}: unknown to the network"),
        Fate::WrongShape(name) => format!("-> {name}: of another shape"),
        Fate::NoWeights(name) => format!("-> {name}: no weights"),
    }
}
