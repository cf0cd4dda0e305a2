//! A model whose names, order and numbers have been checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kd_core::{Error, Result};

use super::constant::{Checked, Constant};
use super::file::{self, Tensors};
use super::proto::{
    AttributeProto, FLOAT, FLOATS, GraphProto, INT, INTS, ModelProto, NodeProto, STRING, TENSOR,
    TypeProto,
};

/// Opsets whose operators are understood.
const OPSETS: std::ops::RangeInclusive<i64> = 9..=21;

/// A network as the file has it.
pub(super) struct Model {
    pub(super) opset: i64,
    pub(super) input: String,
    /// Of the input; nothing where the size is symbolic.
    pub(super) dims: Vec<Option<usize>>,
    pub(super) output: String,
    /// In their order; only those that the output needs.
    pub(super) nodes: Vec<Node>,
    pub(super) constants: BTreeMap<String, Constant>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// An operator at its place. Names of values that are left out are empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) op_type: String,
    pub(super) attributes: BTreeMap<String, Attribute>,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
}

/// A setting of an operator.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    Int(i64),
    Float(f32),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Tensor(Constant),
    /// Graphs, strings and the like: no supported operator has them.
    Other,
}

impl Model {
    /// The model in the file `path`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Parse`] for a damaged file; [`Error::Config`] for
    /// one that is sound but not supported.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let proto = file::read(path)?;
        let opset = opset(&proto).map_err(|reason| refused(path, reason))?;
        let metadata = proto.metadata_props.iter().map(|e| (e.key.clone(), e.value.clone()));
        let metadata = metadata.collect();
        let graph = proto.graph.ok_or_else(|| Error::parse(path, "no graph in it"))?;
        let mut tensors = Tensors::of(path);
        let constants =
            constants(&graph, &mut tensors).map_err(|reason| Error::parse(path, reason))?;
        let (input, dims) = input(&graph, &constants).map_err(|reason| refused(path, reason))?;
        let [output] = graph.output.as_slice() else {
            let reason = format!("{} outputs; one, the logits, is supported", graph.output.len());
            return Err(refused(path, reason));
        };
        let output = output.name.clone();
        let node =
            |node| read_node(node, &mut tensors).map_err(|reason| Error::parse(path, reason));
        let nodes = graph.node.into_iter().map(node).collect::<Result<Vec<_>>>()?;
        let nodes = checked_order(nodes, &input, &constants, &output);
        let nodes = nodes.map_err(|reason| Error::parse(path, reason))?;
        Ok(Self { opset, input, dims, output, nodes, constants, metadata })
    }
}

/// An [`Error::Config`] about the file `path`.
pub(super) fn refused(path: &Path, reason: impl Into<String>) -> Error {
    Error::config(path.display().to_string(), reason)
}

fn opset(proto: &ModelProto) -> Checked<i64> {
    let standard = |domain: &Option<String>| domain.as_deref().is_none_or(is_standard);
    let version =
        proto.opset_import.iter().find(|set| standard(&set.domain)).map(|set| set.version);
    match version {
        Some(version) if OPSETS.contains(&version) => Ok(version),
        Some(version) => {
            let (first, last) = OPSETS.into_inner();
            Err(format!("opset {version}; {first} to {last} are supported, 17 is a good choice"))
        }
        None => Err("names no opset of the standard operators".into()),
    }
}

fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

fn constants(graph: &GraphProto, tensors: &mut Tensors) -> Checked<BTreeMap<String, Constant>> {
    let mut constants = BTreeMap::new();
    for proto in &graph.initializer {
        let at = |reason: String| format!("initializer `{}`: {reason}", proto.name);
        let constant = tensors.read(proto).map_err(at)?;
        if constants.insert(proto.name.clone(), constant).is_some() {
            return Err(at("there are two of this name".into()));
        }
    }
    Ok(constants)
}

/// Name and sizes of the images: the one input that is no initializer.
fn input(
    graph: &GraphProto,
    constants: &BTreeMap<String, Constant>,
) -> Checked<(String, Vec<Option<usize>>)> {
    let inputs: Vec<_> =
        graph.input.iter().filter(|input| !constants.contains_key(&input.name)).collect();
    let [input] = inputs.as_slice() else {
        return Err(format!("{} inputs; one, the images, is supported", inputs.len()));
    };
    let Some(TypeProto { tensor_type: Some(tensor) }) = &input.r#type else {
        return Err(format!("the input `{}` is no tensor", input.name));
    };
    if !file::is_float(tensor.elem_type) {
        let (name, kind) = (&input.name, tensor.elem_type);
        return Err(format!(
            "the input `{name}` has ONNX's type {kind}, no floating-point numbers"
        ));
    }
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    let size = |value: Option<i64>| value.and_then(|value| usize::try_from(value).ok());
    let dims = dims.map(|dim| size(dim.dim_value).filter(|size| *size > 0));
    Ok((input.name.clone(), dims.collect()))
}

fn read_node(proto: NodeProto, tensors: &mut Tensors) -> Checked<Node> {
    let name = match (proto.name.is_empty(), proto.output.first()) {
        (true, Some(output)) => output.clone(),
        _ => proto.name,
    };
    let op_type = match is_standard(&proto.domain) {
        true => proto.op_type,
        false => format!("{}.{}", proto.domain, proto.op_type),
    };
    let mut attributes = BTreeMap::new();
    for attribute in proto.attribute {
        let at =
            |reason: String| format!("node `{name}`, attribute `{}`: {reason}", attribute.name);
        let value = read_attribute(&attribute, tensors).map_err(at)?;
        attributes.insert(attribute.name, value);
    }
    Ok(Node { name, op_type, attributes, inputs: proto.input, outputs: proto.output })
}

fn read_attribute(proto: &AttributeProto, tensors: &mut Tensors) -> Checked<Attribute> {
    Ok(match (proto.r#type, &proto.t) {
        (FLOAT, _) => Attribute::Float(proto.f.unwrap_or_default()),
        (INT, _) => Attribute::Int(proto.i.unwrap_or_default()),
        (STRING, _) => {
            let bytes = proto.s.clone().unwrap_or_default();
            Attribute::Text(String::from_utf8(bytes).map_err(|_| "is no text")?)
        }
        (TENSOR, Some(tensor)) => Attribute::Tensor(tensors.read(tensor)?),
        (FLOATS, _) => Attribute::Floats(proto.floats.clone()),
        (INTS, _) => Attribute::Ints(proto.ints.clone()),
        _ => Attribute::Other,
    })
}

/// `nodes` without those that `output` does not need. A value that is defined twice is refused, and
/// so is one that is read before it is there.
fn checked_order(
    nodes: Vec<Node>,
    input: &str,
    constants: &BTreeMap<String, Constant>,
    output: &str,
) -> Checked<Vec<Node>> {
    let mut known: BTreeSet<&str> = constants.keys().map(String::as_str).collect();
    known.extend([input, ""]);
    for node in &nodes {
        if let Some(missing) = node.inputs.iter().find(|name| !known.contains(name.as_str())) {
            return Err(format!("node `{}` reads `{missing}` before it is there", node.name));
        }
        for made in node.outputs.iter().filter(|made| !made.is_empty()) {
            if !known.insert(made) {
                return Err(format!(
                    "node `{}` defines `{made}`, which is there already",
                    node.name
                ));
            }
        }
    }
    if !known.contains(output) {
        return Err(format!("nothing makes the output `{output}`"));
    }
    Ok(needed(nodes, output))
}

/// Those of `nodes` that `output` is made from.
pub(super) fn needed(nodes: Vec<Node>, output: &str) -> Vec<Node> {
    let mut wanted = BTreeSet::from([output.to_owned()]);
    let mut kept: Vec<Node> = Vec::new();
    for node in nodes.into_iter().rev() {
        if node.outputs.iter().any(|made| wanted.contains(made)) {
            wanted.extend(node.inputs.iter().filter(|name| !name.is_empty()).cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    kept
}
