//! From a graph with its weights to a file, of opset 17.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::Tensor;
use kd_core::checkpoint::Description;
use kd_core::graph::{Graph, IMAGES, Node, Shapes};
use kd_core::ops::Softmax;
use kd_core::ops::onnx::{Attribute, Operand, Operator};
use kd_core::{Error, Result, fsx};
use prost::Message;
use serde::Serialize;

use super::encode;
use super::file::MAX_BYTES;
use super::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::quantize::Quantized;

/// Room for all but the weights.
const OVERHEAD: u64 = 64 << 20;

/// What a file says beside the network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExportInfo {
    /// Names of the classes, in the order of the logits.
    pub class_names: Option<Vec<String>>,
    /// Pixels of a photograph's shorter side before the square that the network sees is cut out of its
    /// middle.
    pub resize: Option<usize>,
    /// The temperature at which the softmax of the logits is calibrated.
    pub temperature: Option<f64>,
    /// Where the weights come from, by key.
    pub provenance: BTreeMap<String, String>,
    /// With a softmax at this temperature behind the logits: the file gives probabilities.
    pub softmax_temperature: Option<f32>,
}

impl ExportInfo {
    /// What is known of a network, and that kd wrote it.
    pub fn of(network: &Description) -> Self {
        /// What a file says of who wrote it.
        const VERSION: &str = concat!("kd ", env!("CARGO_PKG_VERSION"));
        let provenance = [("architecture", &*network.name), ("producer", VERSION)];
        Self {
            class_names: Some(network.class_names.clone()).filter(|names| !names.is_empty()),
            resize: network.resize,
            temperature: network.temperature,
            provenance: provenance.map(|(key, value)| (key.into(), value.into())).into(),
            softmax_temperature: None,
        }
    }
}

/// Writes the network `graph` with `weights` as ONNX: from pixels in `[0, 1]`, `(N, C, H, W)` of any
/// batch size N, to logits `(N, K)`. Normalization is inside, batch norm stays, dropout is left out.
/// Equal input, equal bytes.
///
/// # Errors
/// [`Error::Config`] when the weights are not those of the network, or above 2 GiB; [`Error::Io`];
/// `path` then keeps what it held before.
pub fn save(
    path: &Path,
    graph: &Graph,
    weights: &BTreeMap<String, Tensor>,
    info: &ExportInfo,
) -> Result<()> {
    let stored = Stored { weights, scales: &BTreeMap::new() };
    fsx::write_atomic(path, &model(graph, stored, info)?.encode_to_vec())
}

/// The same for a network in 8-bit integers: activations pass a QuantizeLinear and a DequantizeLinear,
/// weights are bytes (biases 32-bit integers) behind a DequantizeLinear. Engines compute in integers
/// where they find such pairs around an operator; others compute what is written.
///
/// # Errors
/// As [`save`].
pub fn save_quantized(path: &Path, network: &Quantized, info: &ExportInfo) -> Result<()> {
    let stored = Stored { weights: &network.weights, scales: &network.scales };
    fsx::write_atomic(path, &model(&network.graph, stored, info)?.encode_to_vec())
}

/// Weights, and the scale of each output channel of those that are stored as integers.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) weights: &'a BTreeMap<String, Tensor>,
    pub(super) scales: &'a BTreeMap<String, Vec<f32>>,
}

/// The file's content.
pub(super) fn model(graph: &Graph, stored: Stored<'_>, info: &ExportInfo) -> Result<ModelProto> {
    check_weights(graph, stored.weights)?;
    let n_classes = graph.n_classes()?;
    check_names(info, n_classes)?;
    let (mut whole, mut output) = (graph.clone(), "logits");
    if let Some(temperature) = info.softmax_temperature {
        output = "probabilities";
        whole.then(output, Softmax { temperature });
    }
    let mut writer = Writer::new(&whole, output);
    let shapes = whole.shapes()?;
    for node in &whole.nodes {
        writer.add(node, &shapes, stored)?;
    }
    let output = writer.values.get(&whole.output).cloned().unwrap_or_default();
    let graph = GraphProto {
        node: writer.nodes,
        name: "network".into(),
        initializer: writer.initializers,
        input: vec![encode::activation(IMAGES, &whole.image_shape)],
        output: vec![encode::activation(&output, &[n_classes])],
    };
    Ok(encode::model(graph, metadata(&whole, info)?))
}

fn check_weights(graph: &Graph, weights: &BTreeMap<String, Tensor>) -> Result<()> {
    let wanted = graph.param_shapes()?;
    for (name, shape) in &wanted {
        match weights.get(name) {
            Some(tensor) if tensor.dims() == shape => {}
            Some(tensor) => return Err(Error::shape(name, format!("{shape:?}"), tensor.dims())),
            None => return Err(Error::config(name, "the weights lack this parameter")),
        }
    }
    if let Some(name) = weights.keys().find(|name| !wanted.contains_key(*name)) {
        return Err(Error::config(name, "the network has no parameter of this name"));
    }
    let n_bytes: u64 = weights.values().map(|tensor| 4 * tensor.elem_count() as u64).sum();
    if n_bytes > MAX_BYTES - OVERHEAD {
        let reason = format!("{n_bytes} bytes of weights do not fit into one ONNX file of 2 GiB");
        return Err(Error::config("format", reason));
    }
    Ok(())
}

fn check_names(info: &ExportInfo, n_classes: usize) -> Result<()> {
    match &info.class_names {
        Some(names) if names.len() != n_classes => {
            let reason = format!("{} names for {n_classes} classes", names.len());
            Err(Error::config("class_names", reason))
        }
        _ => Ok(()),
    }
}

fn json<T: Serialize>(field: &str, values: &T) -> Result<String> {
    serde_json::to_string(values).map_err(|e| Error::config(field, e.to_string()))
}

fn metadata(graph: &Graph, info: &ExportInfo) -> Result<BTreeMap<String, String>> {
    let mut entries = info.provenance.clone();
    entries.insert("input_range".into(), "[0, 1]".into());
    if let Some(names) = &info.class_names {
        entries.insert("class_names".into(), json("class_names", names)?);
    }
    if let Some(resize) = info.resize {
        entries.insert("resize".into(), resize.to_string());
    }
    if let Some(temperature) = info.temperature {
        entries.insert("temperature".into(), json("temperature", &temperature)?);
    }
    if let Some(normalize) = graph.normalization() {
        entries.insert("mean".into(), json("mean", &normalize.mean)?);
        entries.insert("std".into(), json("std", &normalize.std)?);
    }
    Ok(entries)
}

/// For an output that would be another value's name.
fn identity() -> Operator {
    Operator { op_type: "Identity", inputs: vec![Operand::Input(0)], attributes: Vec::new() }
}

/// The file's graph so far.
struct Writer {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// What the file calls the output of each node.
    values: BTreeMap<String, String>,
    taken: BTreeSet<String>,
    /// The network's output, and what the file calls it.
    output: [String; 2],
}

impl Writer {
    fn new(graph: &Graph, output: &str) -> Self {
        let values = BTreeMap::from([(IMAGES.to_owned(), IMAGES.to_owned())]);
        let mut taken = BTreeSet::from([IMAGES.to_owned()]);
        taken.extend(graph.nodes.iter().map(|node| node.name.clone()));
        let output = [graph.output.clone(), output.to_owned()];
        Self { nodes: Vec::new(), initializers: Vec::new(), values, taken, output }
    }

    /// `name`, or with an underscore more for each time that it is taken.
    fn unique(&mut self, mut name: String) -> String {
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        name
    }

    /// What the node `name` makes: another name than its own, since some engines look nodes and values up
    /// in one table.
    fn value_of(&mut self, name: &str) -> String {
        self.unique(format!("{name}:0"))
    }

    /// Adds the operators of `node`, the last of which has its name.
    fn add(&mut self, node: &Node, shapes: &Shapes, stored: Stored<'_>) -> Result<()> {
        let operators = node.op.as_dyn().onnx(&shapes.inputs(node));
        let operators = match operators.is_empty() && node.name == self.output[0] {
            true => vec![identity()],
            false => operators,
        };
        let mut made: Vec<String> = Vec::new();
        let last = operators.len();
        for (i, operator) in (1..).zip(operators) {
            let name = match i == last {
                true => node.name.clone(),
                false => self.unique(format!("{}.{i}", node.name)),
            };
            let inputs = self.inputs(node, &name, &operator, (&made, stored))?;
            let output = match name == self.output[0] {
                true if self.output[0] == self.output[1] => name.clone(),
                true => self.unique(self.output[1].clone()),
                false => self.value_of(&name),
            };
            made.push(output.clone());
            self.nodes.push(encode::node(name, &operator, inputs, output));
        }
        let input = node.inputs.first().and_then(|input| self.values.get(input));
        let value = made.pop().or_else(|| input.cloned()).unwrap_or_default();
        self.values.insert(node.name.clone(), value);
        Ok(())
    }

    /// Adds `weight` as integers `name`, and the name of what makes numbers of them.
    fn dequantized(&mut self, name: String, weight: &Tensor, scales: &[f32]) -> Result<String> {
        let [scale, zero, made] = ["scale", "zero_point", "dequantized"]
            .map(|what| self.unique(format!("{name}:{what}")));
        let operator = Operator {
            op_type: "DequantizeLinear",
            inputs: Vec::new(),
            attributes: vec![("axis", Attribute::Int(0))],
        };
        let inputs = vec![name.clone(), scale.clone(), zero.clone()];
        let output = self.value_of(&made);
        self.nodes.push(encode::node(made, &operator, inputs, output.clone()));
        let [integers, zeros] = encode::integers([name, zero], weight, scales)?;
        self.initializers.extend([integers, encode::floats(scale, &[scales.len()], scales), zeros]);
        Ok(output)
    }

    /// Names of what the operator `name` of `node` reads; constants are added.
    fn inputs(
        &mut self,
        node: &Node,
        name: &str,
        operator: &Operator,
        (made, stored): (&[String], Stored<'_>),
    ) -> Result<Vec<String>> {
        let mut inputs = Vec::with_capacity(operator.inputs.len());
        for (i, operand) in operator.inputs.iter().enumerate() {
            let tensor = match operand {
                Operand::Input(i) => {
                    inputs.push(self.values.get(&node.inputs[*i]).cloned().unwrap_or_default());
                    continue;
                }
                Operand::Made(i) => {
                    inputs.push(made[*i].clone());
                    continue;
                }
                Operand::Param(part) => {
                    let key = format!("{}.{part}", node.name);
                    let (name, weight) = (self.unique(key.clone()), &stored.weights[&key]);
                    if let Some(scales) = stored.scales.get(&key) {
                        inputs.push(self.dequantized(name, weight, scales)?);
                        continue;
                    }
                    encode::weight(name, weight)?
                }
                Operand::Byte(value) => encode::byte(self.unique(format!("{name}:{i}")), *value),
                Operand::Ints(values) => encode::ints(self.unique(format!("{name}:{i}")), values),
                Operand::Floats(dims, values) => {
                    encode::floats(self.unique(format!("{name}:{i}")), dims, values)
                }
            };
            inputs.push(tensor.name.clone());
            self.initializers.push(tensor);
        }
        Ok(inputs)
    }
}
