//! Networks in 8-bit integers, quantized after training.
//!
//! Key decision: a quantized network is a graph like any other, with a [`Quantize`] node behind every
//! operation and with weights that are multiples of their scale. So it is executed, evaluated and
//! attacked as any network, and its logits are those of an engine that computes in integers but for
//! values that lie between two levels to the last bit.

mod calibrate;
mod fold;
mod range;
mod weights;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::graph::{IMAGES, Node};
use kd_core::ops::{Op, Quantize};
use kd_core::{Error, Graph, Net, Result};

pub use range::Range;

use self::calibrate::{Calibration, calibrate, only_moves};
use self::fold::fold_norms;
use self::weights::Layer;
use crate::Weights;

/// A network in 8-bit integers.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// The network, which rounds its activations.
    pub graph: Graph,
    /// Its weights, multiples of their scales.
    pub weights: Weights,
    /// The scale of each output channel, of the weights that are multiples of it: 8-bit integers for
    /// convolutions and linear layers, 32-bit integers for their biases.
    pub scales: BTreeMap<String, Vec<f32>>,
}

/// Quantizes the network of `graph` and `weights` after what it makes of `images`, batches of
/// `(N, C, H, W)` such as it was trained on: some hundred images.
///
/// Batch norm becomes a part of the convolution before it and dropout goes. Weights of convolutions and
/// linear layers are symmetric, with one scale for each output channel, such that products of neighbours
/// never saturate the 16 bits in which processors without VNNI add two of them up; activations are
/// unsigned bytes, calibrated as `range` says; biases have 32 bits, and make up for what rounding the
/// weights adds to the mean of each channel (Nagel et al. 2019, arXiv:1906.04721, section 4.2, with
/// means that were measured). The logits are not rounded, and neither are weights of other operations.
///
/// # Errors
/// [`Error::Config`] without images, and when weights do not belong to the graph; what the network
/// reports.
pub fn quantize(
    graph: &Graph,
    weights: &Weights,
    images: &[Tensor],
    range: Range,
) -> Result<Quantized> {
    if images.is_empty() {
        return Err(Error::config("calibrate", "there are no images to calibrate with"));
    }
    Net::with_weights(graph.clone(), weights, &Device::Cpu)?;
    let (graph, weights) = fold_norms(graph, weights)?;
    let net = Net::with_weights(graph.clone(), &weights, &Device::Cpu)?;
    Builder::new(&graph, weights).build(&calibrate(&net, images, range)?)
}

/// The quantized network under construction.
struct Builder<'g> {
    from: &'g Graph,
    to: Graph,
    weights: Weights,
    scales: BTreeMap<String, Vec<f32>>,
    /// What stands for the output of each node, and its levels where it is rounded.
    values: BTreeMap<String, (String, Option<Quantize>)>,
}

impl<'g> Builder<'g> {
    fn new(from: &'g Graph, weights: Weights) -> Self {
        let to = Graph::new(from.image_shape);
        Self { from, to, weights, scales: BTreeMap::new(), values: BTreeMap::new() }
    }

    fn build(mut self, found: &Calibration) -> Result<Quantized> {
        // Pixels are bytes already.
        let pixels = Some(Quantize::default());
        let normalizes = self.from.normalization().is_some();
        let images = if normalizes { IMAGES.to_owned() } else { self.round(IMAGES, pixels) };
        self.values.insert(IMAGES.into(), (images, pixels.filter(|_| !normalizes)));
        for node in &self.from.nodes {
            let read: Vec<(String, Option<Quantize>)> =
                node.inputs.iter().map(|input| self.values[input].clone()).collect();
            let inputs = read.iter().map(|(name, _)| name.clone()).collect();
            let mut rounded = Node { inputs, ..node.clone() };
            if let (Some(of_input), Some(means)) = (read[0].1, found.means.get(&node.inputs[0])) {
                self.round_weights(&mut rounded, of_input.scale, means)?;
            }
            self.to.nodes.push(rounded);
            let moved = read[0].1.filter(|_| only_moves(&node.op) && node.name != self.from.output);
            let own = found.levels.get(&node.name).copied().or(moved);
            let value = if own.is_some() { self.round(&node.name, own) } else { node.name.clone() };
            self.values.insert(node.name.clone(), (value, own));
        }
        self.to.output.clone_from(&self.from.output);
        let Self { to: graph, weights, scales, .. } = self;
        graph.shapes()?;
        Ok(Quantized { graph, weights, scales })
    }

    /// The name of what rounds `name`.
    fn round(&mut self, name: &str, levels: Option<Quantize>) -> String {
        let mut rounded = format!("{name}.rounded");
        while self.from.node(&rounded).is_some() {
            rounded.push('_');
        }
        self.to.push(rounded, levels.unwrap_or_default(), &[name])
    }

    /// Rounds the weights of a convolution or linear layer whose input has levels `of_input` apart, and
    /// takes from its bias what that adds to the mean of each channel.
    fn round_weights(&mut self, node: &mut Node, of_input: f32, means: &[f32]) -> Result<()> {
        let n_groups = match &mut node.op {
            Op::Conv2d(conv) => {
                conv.bias = true;
                conv.groups
            }
            Op::Linear(linear) => {
                linear.bias = true;
                1
            }
            _ => return Ok(()),
        };
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{}.{part}", node.name));
        let weights = &self.weights[&weight];
        let dims = weights.dims().to_vec();
        let biases = match self.weights.get(&bias) {
            Some(bias) => bias.to_vec1()?,
            None => vec![0.0; dims[0]],
        };
        let mut layer = Layer {
            weights: weights.flatten_all()?.to_vec1()?,
            biases,
            n_taps: dims[2..].iter().product(),
            n_groups,
        };
        let scales = layer.round(of_input, means);
        let of_biases = scales.iter().map(|scale| scale * of_input).collect();
        let Layer { weights, biases, .. } = layer;
        self.weights
            .insert(weight.clone(), Tensor::from_vec(weights, dims.as_slice(), &Device::Cpu)?);
        self.weights.insert(bias.clone(), Tensor::from_vec(biases, dims[0], &Device::Cpu)?);
        self.scales.extend([(weight, scales), (bias, of_biases)]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
