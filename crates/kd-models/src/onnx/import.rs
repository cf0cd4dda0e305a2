//! From a file to a graph with its weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use kd_core::graph::Graph;
use kd_core::{Error, Result};
use serde::de::DeserializeOwned;

use super::export::ExportInfo;
use super::fold::{Fault, Folded, fold};
use super::model::{Model, Node, refused};
use super::simplify::simplify;
use super::translate::translate;

/// Sizes of the batch that a file for any size is tried with. A file that computes with the size
/// otherwise than by passing it on gives two networks.
const PROBES: [usize; 2] = [7, 11];

/// What a file leaves open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// `[C, H, W]` of the images, for a file with symbolic sizes.
    pub image_shape: Option<[usize; 3]>,
}

/// A network from a file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What it is.
    pub graph: Graph,
    /// Its parameters and statistics.
    pub weights: BTreeMap<String, Tensor>,
    /// What the file says of its use.
    pub info: ExportInfo,
    /// What a user should know, in sentences.
    pub notes: Vec<String>,
}

/// The network in the ONNX file `path`, of one input, images `(N, C, H, W)`, and one output,
/// `(N, classes)`.
///
/// Batch norm stays where the file has it, and is an ordinary one even if the file was written in
/// training. Initializers that several nodes read become parameters of each.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`]; [`Error::Parse`] for a damaged file; [`Error::Config`] for what
/// is not supported, with the node, the operator and what is supported.
pub fn import(path: &Path, options: &ImportOptions) -> Result<Imported> {
    let model = Model::open(path)?;
    let (batch, image_shape) = sizes(&model, options).map_err(|reason| refused(path, reason))?;
    let at = |fault: Fault| {
        let field = format!("{}: node `{}` ({})", path.display(), fault.node, fault.op_type);
        Error::config(field, fault.reason)
    };
    let folded = folded(&model, batch, image_shape).map_err(at)?;
    let builder = translate(&folded, &model.input, image_shape).map_err(at)?;
    let (graph, weights, notes) = builder.finish()?;
    graph.n_classes()?;
    check_weights(path, &graph, &weights)?;
    Ok(Imported { graph, weights, info: info(&model), notes })
}

/// What the metadata say of the classes and of the use; nothing where they are not understood.
fn info(model: &Model) -> ExportInfo {
    fn read<T: DeserializeOwned>(model: &Model, key: &str) -> Option<T> {
        serde_json::from_str(model.metadata.get(key)?).ok()
    }
    ExportInfo {
        class_names: read(model, "class_names"),
        resize: read(model, "resize"),
        temperature: read(model, "temperature"),
        ..ExportInfo::default()
    }
}

/// That the file's tensors have the shapes that the graph asks for.
fn check_weights(path: &Path, graph: &Graph, weights: &BTreeMap<String, Tensor>) -> Result<()> {
    for (name, shape) in graph.param_shapes()? {
        let dims = weights.get(&name).map(Tensor::dims);
        if dims != Some(&shape) {
            return Err(refused(path, format!("`{name}` is {dims:?} where {shape:?} is needed")));
        }
    }
    Ok(())
}

/// The batch, where it is fixed, and the images' shape.
fn sizes(
    model: &Model,
    options: &ImportOptions,
) -> std::result::Result<(Option<usize>, [usize; 3]), String> {
    let &[batch, channels, height, width] = model.dims.as_slice() else {
        return Err(format!("the input has {} axes; images are (N, C, H, W)", model.dims.len()));
    };
    let mut shape = [0; 3];
    for (axis, own) in [channels, height, width].into_iter().enumerate() {
        shape[axis] = match (own, options.image_shape.map(|shape| shape[axis])) {
            (Some(own), Some(other)) if own != other => {
                return Err(format!("the images are {own} in axis {axis}, not {other}"));
            }
            (None, None) => {
                return Err("the size of the images is open; give their shape C,H,W".into());
            }
            (own, other) => own.or(other).unwrap_or_default(),
        };
    }
    Ok((batch, shape))
}

/// Operators on images, for a batch of any size.
fn folded(
    model: &Model,
    batch: Option<usize>,
    image_shape: [usize; 3],
) -> std::result::Result<Folded, Fault> {
    let probe = |n: usize| {
        let [channels, height, width] = image_shape;
        let mut folded = fold(model, &[n, channels, height, width])?;
        simplify(&mut folded);
        Ok(folded)
    };
    let first = probe(batch.unwrap_or(PROBES[0]))?;
    if batch.is_none() {
        agree(&first, &probe(PROBES[1])?)?;
    }
    Ok(first)
}

/// That two foldings are one network: equal operators and constants, but for the shapes that a
/// Reshape goes to.
fn agree(a: &Folded, b: &Folded) -> std::result::Result<(), Fault> {
    let differs = |node: &Node| Fault::at(node, "computes with the number of images in the batch");
    for (node, other) in a.nodes.iter().zip(&b.nodes) {
        let read =
            &node.inputs[..node.inputs.len().min(if node.op_type == "Reshape" { 1 } else { 64 })];
        let same = |name: &String| match (a.known.constants.get(name), b.known.constants.get(name))
        {
            (Some(a), Some(b)) => a.same(b),
            (a, b) => a.is_none() && b.is_none(),
        };
        let rest = |folded: &Folded| {
            let dims = folded.known.dims.get(node.outputs.first()?)?;
            Some(dims.get(1..)?.to_vec())
        };
        if node.op_type != other.op_type
            || node.attributes != other.attributes
            || node.inputs != other.inputs
            || !read.iter().all(same)
            || rest(a) != rest(b)
        {
            return Err(differs(node));
        }
    }
    match a.nodes.get(b.nodes.len()).or(b.nodes.get(a.nodes.len())) {
        Some(node) => Err(differs(node)),
        None => Ok(()),
    }
}
