//! What a network makes of images, as far as its quantization depends on it.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use kd_core::graph::Node;
use kd_core::ops::{Op, Quantize};
use kd_core::{Classifier, Graph, Mode, Net, Result};

use super::fold::n_reads;
use super::range::{Histogram, Range};

/// What calibration has found.
pub(super) struct Calibration {
    /// The levels of each node whose values are rounded to levels of their own.
    pub(super) levels: BTreeMap<String, Quantize>,
    /// Mean of each channel of what convolutions and linear layers read.
    pub(super) means: BTreeMap<String, Vec<f32>>,
}

/// Whether `op` gives values of its input, at other places.
pub(super) fn only_moves(op: &Op) -> bool {
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
    let clamps = |other: &Node| matches!(other.op, Op::Relu(_) | Op::Clip(_));
    let mut readers = graph.nodes.iter().filter(|other| other.inputs.contains(&node.name));
    n_reads(graph, &node.name) == 1 && readers.any(clamps)
}

/// Nodes whose values are rounded to levels of their own.
fn with_levels(graph: &Graph) -> BTreeSet<&str> {
    let has = |node: &&Node| {
        node.name != graph.output && !only_moves(&node.op) && !is_inside(graph, node)
    };
    graph.nodes.iter().filter(has).map(|node| node.name.as_str()).collect()
}

/// What convolutions and linear layers read.
fn read_by_products(graph: &Graph) -> BTreeSet<&str> {
    let is_product = |node: &&Node| matches!(node.op, Op::Conv2d(_) | Op::Linear(_));
    graph.nodes.iter().filter(is_product).map(|node| node.inputs[0].as_str()).collect()
}

/// Looks at what `net` makes of `images`, twice: for the ends of all values, and for how they lie
/// between.
///
/// # Errors
/// What the network reports.
pub(super) fn calibrate(net: &Net, images: &[Tensor], range: Range) -> Result<Calibration> {
    let (rounded, read) = (with_levels(net.graph()), read_by_products(net.graph()));
    let n_images: usize = images.iter().map(|images| images.dims()[0]).sum();
    let mut seen: BTreeMap<&str, Histogram> =
        rounded.iter().map(|tap| (*tap, Histogram::new())).collect();
    let first: Vec<&str> = rounded.iter().copied().collect();
    for images in images {
        for (tap, values) in net.forward_with_taps(images, Mode::Eval, &first)?.1 {
            seen.get_mut(tap.as_str()).map_or(Ok(()), |seen| seen.widen(&values))?;
        }
    }
    let mut means: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    let second: Vec<&str> = rounded.union(&read).copied().collect();
    for images in images {
        let part = images.dims()[0] as f32 / n_images as f32;
        for (tap, values) in net.forward_with_taps(images, Mode::Eval, &second)?.1 {
            seen.get_mut(tap.as_str()).map_or(Ok(()), |seen| seen.count(&values))?;
            if read.contains(tap.as_str()) {
                add(means.entry(tap).or_default(), &of_channels(&values)?, part);
            }
        }
    }
    let levels = seen.into_iter().map(|(tap, seen)| (tap.to_owned(), seen.levels(range)));
    Ok(Calibration { levels: levels.collect(), means })
}

/// The mean of each channel, which is the last axis.
fn of_channels(values: &Tensor) -> Result<Vec<f32>> {
    let means = if values.rank() == 4 { values.mean((0, 1, 2))? } else { values.mean(0)? };
    Ok(means.to_vec1()?)
}

/// `sums += part * values`, where there are sums already.
fn add(sums: &mut Vec<f32>, values: &[f32], part: f32) {
    sums.resize(values.len(), 0.0);
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += part * value);
}
