//! `kd cut`: a student that is the beginning of a teacher.

use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::Device;
use kd_core::checkpoint::Description;
use kd_core::{Classifier, Error, Graph, Result, Stream};
use kd_models::onnx::{self, ExportInfo};
use kd_models::weights::save_network;
use kd_models::{cut_points, inherit};
use kd_ship::{Cut, Part};
use kd_suite::weights::Loaded;

use super::exchange::{FileArgs, may_write};
use super::table;

/// Arguments of `kd cut`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// The last node to keep; without --at, --macs and --shrink all that can be is printed
    #[arg(long, value_name = "NODE", conflicts_with = "macs", requires = "out")]
    at: Option<String>,
    /// Keep as many layers as have this share of the teacher's multiply-adds, such as 1/3 or 0.125
    #[arg(long, value_parser = Cut::share, value_name = "SHARE", requires = "out")]
    macs: Option<Cut>,
    /// Make the images so many times smaller first: the teacher with all its layers on small images
    #[arg(long, value_name = "K", requires = "out")]
    shrink: Option<usize>,
    /// Number of the student's classes [default: the teacher's]
    #[arg(long, value_name = "K")]
    student_classes: Option<usize>,
    /// Where the new layer's values come from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The file to write, STUDENT.onnx or STUDENT.safetensors
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Write over what is there
    #[arg(long)]
    force: bool,
}

/// Cuts and writes, or prints where the network can be cut.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.file.is_dry() {
        return args.file.show();
    }
    let teacher = args.file.load()?;
    let n_classes = args.student_classes.unwrap_or(teacher.network.n_classes());
    let graph = teacher.network.graph();
    let node = args.at.clone().map(Cut::Node);
    let part = Part { shrink: args.shrink, cut: node.or_else(|| args.macs.clone()) };
    if part == Part::default() {
        print(graph, n_classes)?;
        return Ok(ExitCode::SUCCESS);
    }
    write(args, &teacher, part.of(graph, n_classes)?)?;
    Ok(ExitCode::SUCCESS)
}

fn print(teacher: &Graph, n_classes: usize) -> Result<()> {
    let whole = teacher.counts()?;
    let row = |node: &str, shape: &[usize], macs: u64, parameters: u64| {
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let share = format!("{:.4}", macs as f64 / whole.multiply_adds as f64);
        [node.to_owned(), shape, macs.to_string(), share, parameters.to_string()]
    };
    let heads = ["cut at", "output", "multiply-adds", "share", "parameters"];
    let mut rows = vec![heads.map(str::to_owned)];
    for point in cut_points(teacher, n_classes)? {
        let counts = point.counts;
        rows.push(row(&point.node, &point.shape, counts.multiply_adds, counts.parameters));
    }
    rows.push(row("(the whole)", &[teacher.n_classes()?], whole.multiply_adds, whole.parameters));
    table::print(&rows, "", &[2, 3, 4]);
    Ok(())
}

fn write(args: &Args, teacher: &Loaded, graph: Graph) -> Result<()> {
    let Some(out) = &args.out else { return Ok(()) };
    may_write(out, args.force)?;
    let counts = graph.counts()?;
    let weights = teacher.network.params().tensors();
    let student =
        inherit(graph.clone(), &weights, Stream::new(args.seed).at("init"), &Device::Cpu)?;
    let tensors = student.params().tensors();
    let name = format!("{}, cut", teacher.name);
    match out.extension().and_then(|extension| extension.to_str()) {
        Some("onnx") => {
            let provenance = [("architecture".to_owned(), name)].into();
            let info = ExportInfo { provenance, ..ExportInfo::default() };
            onnx::save(out, &graph, &tensors, &info)?;
        }
        Some("safetensors") => {
            save_network(out, &tensors, &Description::new(name, graph))?;
        }
        _ => return Err(Error::config("out", "give a file .onnx or .safetensors")),
    }
    println!(
        "{}: {} parameters, {} multiply-adds",
        out.display(),
        counts.parameters,
        counts.multiply_adds
    );
    Ok(())
}
