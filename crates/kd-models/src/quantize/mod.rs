//! Networks in 8-bit integers, quantized after training.
//!
//! Key decision: a quantized network is a graph like any other, with a [`Quantize`] node behind every
//! operation and with weights that are multiples of their scale. So it is executed, evaluated and
//! attacked as any network, and its logits are those of an engine that computes in integers but for
//! values that lie between two levels to the last bit.

mod fold;
mod range;
mod weights;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::graph::{IMAGES, Node};
use kd_core::ops::{Op, Quantize};
use kd_core::{Classifier, Error, Graph, Mode, Net, Result};

pub use range::Range;

use self::fold::{fold_norms, n_reads};
use self::range::Histogram;
use self::weights::Channel;
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
/// unsigned bytes, calibrated as `range` says; biases have 32 bits. The logits are not rounded, and
/// neither are weights of other operations.
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
    let levels = calibrate(&net, images, range)?;
    Builder::new(&graph, weights).build(&levels)
}

/// Whether `op` gives values of its input, at other places.
fn only_moves(op: &Op) -> bool {
    matches!(
        op,
        Op::MaxPool(_)
            | Op::Flatten(_)
            | Op::ChannelShuffle(_)
            | Op::SliceChannels(_)
            | Op::SubsamplePad(_)
    )
}

/// Whether the output of `node` is read by a clamp alone, which becomes a part of it: its own values are
/// nowhere.
fn is_inside(graph: &Graph, node: &Node) -> bool {
    let clamps = |other: &&Node| matches!(other.op, Op::Relu(_) | Op::Clip(_));
    let mut readers = graph.nodes.iter().filter(|other| other.inputs.contains(&node.name));
    n_reads(graph, &node.name) == 1 && readers.find(clamps).is_some()
}

/// Nodes whose values are rounded to levels of their own.
fn with_levels(graph: &Graph) -> Vec<&str> {
    let has = |node: &&Node| {
        node.name != graph.output && !only_moves(&node.op) && !is_inside(graph, node)
    };
    graph.nodes.iter().filter(has).map(|node| node.name.as_str()).collect()
}

/// The levels of each node, after what it makes of `images`.
fn calibrate(net: &Net, images: &[Tensor], range: Range) -> Result<BTreeMap<String, Quantize>> {
    let taps = with_levels(net.graph());
    let mut seen: BTreeMap<String, Histogram> =
        taps.iter().map(|tap| ((*tap).to_owned(), Histogram::new())).collect();
    // The ends first, since bins lie between them.
    for take in [Histogram::widen, Histogram::count] {
        for images in images {
            for (tap, values) in net.forward_with_taps(images, Mode::Eval, &taps)?.1 {
                if let Some(histogram) = seen.get_mut(&tap) {
                    take(histogram, &values)?;
                }
            }
        }
    }
    Ok(seen.into_iter().map(|(tap, histogram)| (tap, histogram.levels(range))).collect())
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

    fn build(mut self, levels: &BTreeMap<String, Quantize>) -> Result<Quantized> {
        // Pixels are bytes already.
        let pixels = Some(Quantize::default());
        let normalizes = self.from.normalization().is_some();
        let images = if normalizes { IMAGES.to_owned() } else { self.round(IMAGES, pixels) };
        self.values.insert(IMAGES.into(), (images, pixels.filter(|_| !normalizes)));
        for node in &self.from.nodes {
            let read: Vec<(String, Option<Quantize>)> =
                node.inputs.iter().map(|input| self.values[input].clone()).collect();
            let inputs = read.iter().map(|(name, _)| name.clone()).collect();
            self.to.nodes.push(Node { inputs, ..node.clone() });
            if let Some(of_input) = read[0].1 {
                self.round_weights(node, of_input.scale)?;
            }
            let moved = read[0].1.filter(|_| only_moves(&node.op) && node.name != self.from.output);
            let own = levels.get(&node.name).copied().or(moved);
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

    /// Rounds the weights of a convolution or linear layer whose input has levels `of_input` apart.
    fn round_weights(&mut self, node: &Node, of_input: f32) -> Result<()> {
        let is_depthwise = match &node.op {
            Op::Conv2d(conv) => conv.groups > 1 && conv.groups == conv.out_channels,
            Op::Linear(_) => false,
            _ => return Ok(()),
        };
        let (weight_name, bias_name) =
            (format!("{}.weight", node.name), format!("{}.bias", node.name));
        let weight = self.weights[&weight_name].clone();
        let mut bias = match self.weights.get(&bias_name) {
            Some(bias) => bias.to_vec1::<f32>()?,
            None => vec![0.0; weight.dims()[0]],
        };
        let mut values = weight.flatten_all()?.to_vec1::<f32>()?;
        let n_taps = weight.dims()[2..].iter().product();
        let mut scales = Vec::with_capacity(bias.len());
        let each = values.len() / bias.len();
        for (weights, bias) in values.chunks_mut(each).zip(&mut bias) {
            let scale = Channel { weights, n_taps, is_depthwise }.scale(*bias, of_input);
            weights.iter_mut().for_each(|value| *value = weights::weight(*value, scale));
            *bias = weights::bias(*bias, scale * of_input);
            scales.push(scale);
        }
        let of_bias = scales.iter().map(|scale| scale * of_input).collect();
        self.weights
            .insert(weight_name.clone(), Tensor::from_vec(values, weight.dims(), &Device::Cpu)?);
        self.scales.insert(weight_name, scales);
        if self.weights.contains_key(&bias_name) {
            let n = bias.len();
            self.weights.insert(bias_name.clone(), Tensor::from_vec(bias, n, &Device::Cpu)?);
            self.scales.insert(bias_name, of_bias);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
