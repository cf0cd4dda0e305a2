//! A graph of ONNX operators under construction, over the weights of a network.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use kd_core::ops::Pool;
use kd_core::{Error, Result};

use super::proto::{
    AttributeProto, DimensionProto, F32, FLOAT, GraphProto, I64, INT, INTS, NodeProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// Added to the variance by batch norm, as in PyTorch.
const EPS: f32 = 1e-5;
/// The symbolic size of the batch.
const BATCH: &str = "N";

/// Name of a value in the graph.
pub(super) type Value = String;

/// Nodes and initializers so far. Values are NCHW, as in PyTorch.
pub(super) struct Graph<'a> {
    weights: &'a BTreeMap<String, Tensor>,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    known: BTreeSet<String>,
}

impl<'a> Graph<'a> {
    /// An empty graph over `weights`, which have PyTorch's shapes.
    pub(super) fn new(weights: &'a BTreeMap<String, Tensor>) -> Self {
        Self { weights, nodes: Vec::new(), initializers: Vec::new(), known: BTreeSet::new() }
    }

    /// Whether the network has the parameter `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.weights.contains_key(name)
    }

    /// Numbers of output and input channels of the convolution `name`.
    pub(super) fn channels(&self, name: &str) -> Result<(usize, usize)> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let (n_out, n_in, _, _) = weight.dims4()?;
        Ok((n_out, n_in))
    }

    /// The convolution `name` (with its bias, if it has one).
    pub(super) fn conv(
        &mut self,
        x: Value,
        name: &str,
        (stride, padding): (usize, usize),
    ) -> Result<Value> {
        let mut inputs = vec![x, self.parameter(&format!("{name}.weight"))?];
        let bias = format!("{name}.bias");
        if self.has(&bias) {
            inputs.push(self.parameter(&bias)?);
        }
        let attributes = vec![ints("strides", [stride; 2]), ints("pads", [padding; 4])];
        Ok(self.node("Conv", name, inputs, attributes))
    }

    /// The batch norm `name`, with its running statistics.
    pub(super) fn norm(&mut self, x: Value, name: &str) -> Result<Value> {
        let mut inputs = vec![x];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.parameter(&format!("{name}.{part}"))?);
        }
        Ok(self.node("BatchNormalization", name, inputs, vec![float("epsilon", EPS)]))
    }

    /// The linear layer `name` on `(N, C)`.
    pub(super) fn linear(&mut self, x: Value, name: &str) -> Result<Value> {
        let weight = self.parameter(&format!("{name}.weight"))?;
        let bias = self.parameter(&format!("{name}.bias"))?;
        Ok(self.node("Gemm", name, vec![x, weight, bias], vec![int("transB", 1)]))
    }

    /// `max(x, 0)`; `name` is the layer before it.
    pub(super) fn relu(&mut self, x: Value, name: &str) -> Value {
        self.node("Relu", &format!("{name}.relu"), vec![x], vec![])
    }

    /// `x + y`
    pub(super) fn add(&mut self, x: Value, y: Value, name: &str) -> Value {
        self.node("Add", name, vec![x, y], vec![])
    }

    /// The maximum of each window.
    pub(super) fn max_pool(&mut self, x: Value, pool: Pool, name: &str) -> Value {
        let attributes = vec![
            ints("kernel_shape", [pool.kernel; 2]),
            ints("strides", [pool.stride; 2]),
            ints("pads", [pool.padding; 4]),
        ];
        self.node("MaxPool", name, vec![x], attributes)
    }

    /// The mean over height and width: `(N, C, H, W)` -> `(N, C)`.
    pub(super) fn global_average(&mut self, x: Value, name: &str) -> Value {
        let pooled = self.node("GlobalAveragePool", name, vec![x], vec![]);
        self.flatten(pooled, &format!("{name}.flatten"))
    }

    /// `(N, C, H, W)` -> `(N, C*H*W)`
    pub(super) fn flatten(&mut self, x: Value, name: &str) -> Value {
        self.node("Flatten", name, vec![x], vec![int("axis", 1)])
    }

    /// `x[:, :, ::stride, ::stride]`
    pub(super) fn subsample(&mut self, x: Value, stride: usize, name: &str) -> Value {
        let inputs = [
            ("starts", vec![0, 0]),
            ("ends", vec![i64::MAX; 2]),
            ("axes", vec![2, 3]),
            ("steps", vec![stride as i64; 2]),
        ];
        let mut names = vec![x];
        for (part, values) in inputs {
            names.push(self.integers(&format!("{name}.{part}"), &values));
        }
        self.node("Slice", name, names, vec![])
    }

    /// `n` channels of zeros before and after those of `x`.
    pub(super) fn pad_channels(&mut self, x: Value, n: usize, name: &str) -> Value {
        let n = n as i64;
        let pads = self.integers(&format!("{name}.pads"), &[0, n, 0, 0, 0, n, 0, 0]);
        self.node("Pad", name, vec![x, pads], vec![])
    }

    /// The whole graph, from `(N, C, H, W)` images to the value `logits`, `(N, K)`.
    pub(super) fn finish(
        mut self,
        name: &str,
        (input, image_shape): (&str, [usize; 3]),
        (logits, n_classes): (Value, usize),
    ) -> GraphProto {
        const OUTPUT: &str = "logits";
        self.nodes.push(NodeProto {
            input: vec![logits],
            output: vec![OUTPUT.into()],
            name: OUTPUT.into(),
            op_type: "Identity".into(),
            attribute: vec![],
        });
        GraphProto {
            node: self.nodes,
            name: name.into(),
            initializer: self.initializers,
            input: vec![value_info(input, &image_shape)],
            output: vec![value_info(OUTPUT, &[n_classes])],
        }
    }

    /// Adds a node whose output has its name.
    fn node(
        &mut self,
        op_type: &str,
        name: &str,
        input: Vec<Value>,
        attribute: Vec<AttributeProto>,
    ) -> Value {
        let output = format!("{name}.out");
        self.nodes.push(NodeProto {
            input,
            output: vec![output.clone()],
            name: name.into(),
            op_type: op_type.into(),
            attribute,
        });
        output
    }

    fn weight(&self, name: &str) -> Result<&'a Tensor> {
        let missing = || Error::config(name, "the weights lack this parameter");
        self.weights.get(name).ok_or_else(missing)
    }

    /// An initializer with the values of a weight.
    fn parameter(&mut self, name: &str) -> Result<Value> {
        if self.known.insert(name.into()) {
            let tensor = self.weight(name)?;
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            self.initializers.push(TensorProto {
                dims: tensor.dims().iter().map(|&d| d as i64).collect(),
                data_type: F32,
                name: name.into(),
                raw_data: values.into_iter().flat_map(f32::to_le_bytes).collect(),
            });
        }
        Ok(name.into())
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> Value {
        self.initializers.push(TensorProto {
            dims: vec![values.len() as i64],
            data_type: I64,
            name: name.into(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        name.into()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: Some(value), r#type: INT, ..Default::default() }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f: Some(value), r#type: FLOAT, ..Default::default() }
}

fn ints<const N: usize>(name: &str, values: [usize; N]) -> AttributeProto {
    let ints = values.iter().map(|&value| value as i64).collect();
    AttributeProto { name: name.into(), ints, r#type: INTS, ..Default::default() }
}

/// An f32 tensor of shape `(N, shape...)`.
fn value_info(name: &str, shape: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { dim_param: Some(BATCH.into()), dim_value: None };
    let size = |&d: &usize| DimensionProto { dim_value: Some(d as i64), dim_param: None };
    let dim = std::iter::once(batch).chain(shape.iter().map(size)).collect();
    let tensor = TensorTypeProto { elem_type: F32, shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { tensor_type: Some(tensor) });
    ValueInfoProto { name: name.into(), r#type }
}
