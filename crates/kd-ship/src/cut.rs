//! Parts of a network, by hand: where it can be cut, and a file of what is left.

use std::path::Path;

use candle_core::Device;
use kd_core::checkpoint::Description;
use kd_core::graph::Counts;
use kd_core::{Classifier, Error, Graph, Result, Stream};
use kd_models::onnx::{self, ExportInfo};
use kd_models::weights::save_network;
use kd_models::{cut_points, inherit};
use kd_suite::table;
use kd_suite::weights::Loaded;

/// A table of the nodes that `network` can end at, with what is left of it for `n_classes` classes.
///
/// # Errors
/// Those of [`cut_points`].
pub fn cut_table(network: &Graph, n_classes: usize) -> Result<String> {
    let whole = network.counts()?;
    let row = |node: &str, shape: &[usize], Counts { multiply_adds, parameters }: Counts| {
        let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let share = format!("{:.4}", multiply_adds as f64 / whole.multiply_adds as f64);
        [node.into(), shape, multiply_adds.to_string(), share, parameters.to_string()]
    };
    let heads = ["cut at", "output", "multiply-adds", "share", "parameters"];
    let mut rows = vec![heads.map(str::to_owned)];
    for point in cut_points(network, n_classes)? {
        rows.push(row(&point.node, &point.shape, point.counts));
    }
    rows.push(row("(the whole)", &[network.n_classes()?], whole));
    Ok(table(&rows, "", &[2, 3, 4]))
}

/// Writes `graph`, a part of `network`, with the weights that it has of it to `out`, a file .onnx or
/// .safetensors; those of a new layer come from `seed`. Says what it wrote.
///
/// # Errors
/// [`Error::Config`] for another file; [`Error::Io`].
pub fn write_part(network: &Loaded, graph: Graph, seed: u64, out: &Path) -> Result<String> {
    let Counts { multiply_adds, parameters } = graph.counts()?;
    let (weights, stream) = (network.network.params().tensors(), Stream::new(seed).at("init"));
    let tensors = inherit(graph.clone(), &weights, stream, &Device::Cpu)?.params().tensors();
    let known = Description::new(format!("{}, cut", network.name), graph);
    match out.extension().and_then(|extension| extension.to_str()) {
        Some("onnx") => onnx::save(out, &known.graph, &tensors, &ExportInfo::of(&known))?,
        Some("safetensors") => save_network(out, &tensors, &known)?,
        _ => return Err(Error::config("out", "give a file .onnx or .safetensors")),
    }
    Ok(format!("{}: {parameters} parameters, {multiply_adds} multiply-adds", out.display()))
}
