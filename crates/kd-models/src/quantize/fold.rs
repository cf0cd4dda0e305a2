//! Batch norm as a part of the convolution before it.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use kd_core::graph::Node;
use kd_core::ops::{BatchNorm, Conv2d, Op};
use kd_core::{Graph, Result};

use crate::Weights;

/// `graph` without dropout and without the batch norms of which each alone reads a convolution: that
/// has a bias instead. In evaluation the same function but for rounding:
/// `w' = w gamma / sqrt(var + eps)`, `b' = beta + (b - mean) gamma / sqrt(var + eps)`, in f64.
///
/// # Errors
/// When candle refuses.
pub(super) fn fold_norms(graph: &Graph, weights: &Weights) -> Result<(Graph, Weights)> {
    let graph = graph.without_dropout();
    let mut weights = weights.clone();
    let mut folded = Graph::new(graph.image_shape);
    // What a node that is gone has become.
    let mut renamed: BTreeMap<&str, String> = BTreeMap::new();
    for node in &graph.nodes {
        let now = |input: &String| renamed.get(input.as_str()).unwrap_or(input).clone();
        let inputs: Vec<String> = node.inputs.iter().map(now).collect();
        if let (Op::BatchNorm(norm), true) = (&node.op, n_reads(&graph, &node.inputs[0]) == 1)
            && let Some(conv) = conv_mut(&mut folded, &inputs[0])
        {
            take_up(&mut weights, (&inputs[0], conv.bias), (&node.name, norm))?;
            conv.bias = true;
            renamed.insert(&node.name, inputs[0].clone());
            continue;
        }
        folded.nodes.push(Node { inputs, ..node.clone() });
    }
    folded.output = renamed.get(graph.output.as_str()).unwrap_or(&graph.output).clone();
    Ok((folded, weights))
}

/// How often the output of the node `name` is read, by other nodes and as the network's.
pub(super) fn n_reads(graph: &Graph, name: &str) -> usize {
    let read = graph.nodes.iter().flat_map(|node| &node.inputs).chain([&graph.output]);
    read.filter(|input| *input == name).count()
}

fn conv_mut<'g>(graph: &'g mut Graph, name: &str) -> Option<&'g mut Conv2d> {
    match &mut graph.nodes.iter_mut().find(|node| node.name == name)?.op {
        Op::Conv2d(conv) => Some(conv),
        _ => None,
    }
}

/// Moves the numbers of `norm` into those of the convolution.
fn take_up(
    weights: &mut Weights,
    (conv, has_bias): (&str, bool),
    (name, norm): (&str, &BatchNorm),
) -> Result<()> {
    let mut part = |part: &str| doubles(weights.remove(&format!("{name}.{part}")));
    let [gamma, beta] = [part("weight")?, part("bias")?];
    let [mean, var] = [part("running_mean")?, part("running_var")?];
    let factor = (var + f64::from(norm.eps))?.sqrt()?.recip()?.mul(&gamma)?;
    let weight_name = format!("{conv}.weight");
    let weight = doubles(weights.remove(&weight_name))?;
    let weight = weight.broadcast_mul(&factor.reshape(((), 1, 1, 1))?)?;
    let bias_name = format!("{conv}.bias");
    let shift = if has_bias { (doubles(weights.remove(&bias_name))? - mean)? } else { mean.neg()? };
    let bias = (beta + shift.mul(&factor)?)?;
    weights.insert(weight_name, weight.to_dtype(DType::F32)?);
    weights.insert(bias_name, bias.to_dtype(DType::F32)?);
    Ok(())
}

/// In f64; the caller has checked that all weights are there.
fn doubles(tensor: Option<Tensor>) -> Result<Tensor> {
    match tensor {
        Some(tensor) => Ok(tensor.to_dtype(DType::F64)?),
        None => Ok(Tensor::zeros((), DType::F64, &Device::Cpu)?),
    }
}
