//! MobileNetV2, for large images and for those of CIFAR.

use kd_core::ops::{Add, BatchNorm, Clip, Conv2d, Init, Linear, Op, Relu};
use kd_core::{Graph, Result, in_range};
use serde::{Deserialize, Serialize};

use crate::layers::{checked, depthwise3x3, dropout, global_pool, pool_and_head, sequential};
use crate::{ModelSpec, Network};

/// MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, table 2), with torchvision's parameter names
/// (`features.1.conv.0.0`, `classifier.1`) and initial values (Kaiming normal by fan-out,
/// N(0, 0.01^2) for the linear layer, biases 0).
///
/// Features: the nodes `features.0.2` (the stem), `features.3.add`, `features.6.add`,
/// `features.13.add`, `features.18.2`, `pool` and others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MobileNetV2 {
    /// Channels per channel of the paper's network, which are then rounded to multiples of 8.
    pub width: f32,
    /// Probability with which a pooled value is dropped in training, in `[0, 1)`.
    pub dropout: f32,
}

/// The half-wide MobileNetV2 of RepDistiller's comparisons for CIFAR (Tian et al. 2020,
/// arXiv:1910.10699), with its parameter names (`conv1.0`, `blocks.1.0.conv.3`, `classifier.0`) and
/// initial values, which are torchvision's. It differs from the paper's network: ReLU instead of
/// ReLU6, an expansion also in the first block, stride 1 in the second stage, and channels that
/// are not rounded.
///
/// Features: `conv1.2` (the stem), `blocks.1.1.add`, `blocks.2.2.add`, `blocks.4.2.add`,
/// `blocks.6.0.conv.7`, `pool` and others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarMobileNetV2 {
    /// Channels per channel of the paper's network.
    pub width: f32,
}

impl Default for MobileNetV2 {
    /// The paper's network, with torchvision's dropout.
    fn default() -> Self {
        Self { width: 1.0, dropout: 0.2 }
    }
}

impl Default for CifarMobileNetV2 {
    /// That of the comparisons.
    fn default() -> Self {
        Self { width: 0.5 }
    }
}

const INIT: Init = Init::KaimingFanOut;
/// Channels after the last block, which narrow networks have as well.
const LAST: f32 = 1280.0;

/// Blocks of one kind, a row of the paper's table 2.
struct Row {
    /// Channels within a block, per channel of its input.
    expansion: usize,
    /// Output channels.
    channels: f32,
    /// How many.
    n: usize,
    /// Stride of the first one.
    stride: usize,
}

/// The table, with the stride of its second row.
fn table(stride: usize) -> [Row; 7] {
    let row = |(expansion, channels, n, stride)| Row { expansion, channels, n, stride };
    [
        (1, 16.0, 1, 1),
        (6, 24.0, 2, stride),
        (6, 32.0, 3, 2),
        (6, 64.0, 4, 2),
        (6, 96.0, 3, 1),
        (6, 160.0, 3, 2),
        (6, 320.0, 1, 1),
    ]
    .map(row)
}

fn head(n_classes: usize) -> Linear {
    Linear::new(n_classes).init(Init::Normal(0.01), Init::Zeros)
}

/// A convolution, its batch norm and an activation: `NAME.0`, `NAME.1`, `NAME.2`.
fn conv_norm(net: &mut Graph, name: &str, conv: Conv2d, activation: impl Into<Op>) {
    let ops = [conv.init(INIT).into(), BatchNorm::default().into(), activation.into()];
    sequential(net, name, ops);
}

/// Where a block stands.
struct Place {
    n_in: usize,
    n_out: usize,
    expansion: usize,
    stride: usize,
}

impl Place {
    /// The sum of a block's input and output, where their sizes are equal.
    fn add(&self, net: &mut Graph, name: &str, x: &str) {
        if self.stride == 1 && self.n_in == self.n_out {
            let y = net.output.clone();
            net.push(format!("{name}.add"), Add {}, &[x, &y]);
        }
    }
}

/// torchvision's block: 1x1 to more channels, 3x3 for each channel alone, 1x1 to fewer.
fn inverted_residual(net: &mut Graph, name: &str, place: &Place) {
    let (x, wide) = (net.output.clone(), place.expansion * place.n_in);
    let mut i = 0;
    if place.expansion > 1 {
        conv_norm(net, &format!("{name}.conv.0"), Conv2d::new(wide, 1), Clip::default());
        i = 1;
    }
    let depthwise = depthwise3x3(wide, place.stride);
    conv_norm(net, &format!("{name}.conv.{i}"), depthwise, Clip::default());
    net.then(format!("{name}.conv.{}", i + 1), Conv2d::new(place.n_out, 1).init(INIT));
    net.then(format!("{name}.conv.{}", i + 2), BatchNorm::default());
    place.add(net, name, &x);
}

/// RepDistiller's block: the same, with other names and ReLU.
fn cifar_inverted_residual(net: &mut Graph, name: &str, place: &Place) {
    let (x, wide) = (net.output.clone(), place.expansion * place.n_in);
    let ops = [
        Conv2d::new(wide, 1).init(INIT).into(),
        BatchNorm::default().into(),
        Relu {}.into(),
        depthwise3x3(wide, place.stride).init(INIT).into(),
        BatchNorm::default().into(),
        Relu {}.into(),
        Conv2d::new(place.n_out, 1).init(INIT).into(),
        BatchNorm::default().into(),
    ];
    sequential(net, &format!("{name}.conv"), ops);
    place.add(net, name, &x);
}

/// The multiple of 8 next to `channels`, but not less than 90 % of them.
fn divisible_by_8(channels: f32) -> usize {
    let rounded = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f32) < 0.9 * channels { rounded + 8 } else { rounded }
}

fn check_width(width: f32) -> Result<()> {
    in_range("width", width, 0.1, 4.0)
}

impl Network for MobileNetV2 {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        check_width(self.width)?;
        let scaled = |channels: f32| divisible_by_8(channels * self.width);
        let mut net = Graph::new(image_shape);
        let mut n_in = scaled(32.0);
        let stem = Conv2d::new(n_in, 3).stride(2).padding(1);
        conv_norm(&mut net, "features.0", stem, Clip::default());
        let mut number = 1;
        for row in table(2) {
            for j in 0..row.n {
                let stride = if j == 0 { row.stride } else { 1 };
                let (n_out, expansion) = (scaled(row.channels), row.expansion);
                let place = Place { n_in, n_out, expansion, stride };
                inverted_residual(&mut net, &format!("features.{number}"), &place);
                n_in = n_out;
                number += 1;
            }
        }
        let last = Conv2d::new(divisible_by_8(LAST * self.width.max(1.0)), 1);
        conv_norm(&mut net, &format!("features.{number}"), last, Clip::default());
        global_pool(&mut net);
        dropout(&mut net, "classifier.0", self.dropout, None);
        net.then("classifier.1", head(n_classes));
        checked(net)
    }

    fn usual_data(&self) -> ([usize; 3], usize) {
        ([3, 224, 224], 1000)
    }

    /// `mobilenet-v2`, `mobilenet-v2-w0.5`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let rest = name.strip_prefix("mobilenet-v2")?;
        let width = if rest.is_empty() { 1.0 } else { rest.strip_prefix("-w")?.parse().ok()? };
        check_width(width).ok()?;
        Some(ModelSpec::MobileNetV2(Self { width, ..Self::default() }))
    }

    fn short_name(&self) -> String {
        let name = format!("mobilenet-v2-w{}", self.width);
        name.strip_suffix("-w1").unwrap_or(&name).into()
    }
}

impl Network for CifarMobileNetV2 {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        check_width(self.width)?;
        let scaled = |channels: f32| (channels * self.width) as usize;
        let mut net = Graph::new(image_shape);
        let mut n_in = scaled(32.0);
        conv_norm(&mut net, "conv1", Conv2d::new(n_in, 3).stride(2).padding(1), Relu {});
        for (i, row) in table(1).into_iter().enumerate() {
            for j in 0..row.n {
                let stride = if j == 0 { row.stride } else { 1 };
                let (n_out, expansion) = (scaled(row.channels), row.expansion);
                let place = Place { n_in, n_out, expansion, stride };
                cifar_inverted_residual(&mut net, &format!("blocks.{i}.{j}"), &place);
                n_in = n_out;
            }
        }
        let last = Conv2d::new((LAST * self.width.max(1.0)) as usize, 1);
        conv_norm(&mut net, "conv2", last, Relu {});
        pool_and_head(net, "classifier.0", head(n_classes))
    }

    /// `mobilenet-v2-cifar-w0.5`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let width = name.strip_prefix("mobilenet-v2-cifar-w")?.parse().ok()?;
        check_width(width).ok()?;
        Some(ModelSpec::CifarMobileNetV2(Self { width }))
    }

    fn short_name(&self) -> String {
        format!("mobilenet-v2-cifar-w{}", self.width)
    }
}
