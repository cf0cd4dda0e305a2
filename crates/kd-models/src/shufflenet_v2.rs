//! ShuffleNetV2 for large images.

use kd_core::ops::{
    BatchNorm, ChannelShuffle, Concat, Conv2d, Linear, MaxPool, Relu, SliceChannels,
};
use kd_core::{Error, Graph, Result};
use serde::{Deserialize, Serialize};

use crate::layers::{conv3x3, depthwise3x3, end_stage, pool_and_head, sequential};
use crate::{ModelSpec, Network};

/// ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164, table 5), with torchvision's parameter names
/// (`stage2.0.branch1.0`, `conv5.0`, `fc`) and initial values (PyTorch's defaults).
///
/// Features: `stem`, `stage2`, `stage3`, `stage4` and `pool`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShuffleNetV2 {
    /// 0.5, 1, 1.5 or 2: which column of the paper's table.
    pub width: f32,
}

impl Default for ShuffleNetV2 {
    /// The paper's network of about 150 million multiply-adds.
    fn default() -> Self {
        Self { width: 1.0 }
    }
}

/// Channels of the three stages and of the last convolution, by width.
const TABLE: [(f32, [usize; 4]); 4] = [
    (0.5, [48, 96, 192, 1024]),
    (1.0, [116, 232, 464, 1024]),
    (1.5, [176, 352, 704, 1024]),
    (2.0, [244, 488, 976, 2048]),
];
const STEM: usize = 24;

impl ShuffleNetV2 {
    fn channels(&self) -> Result<[usize; 4]> {
        let row = TABLE.into_iter().find(|(width, _)| (width - self.width).abs() < f32::EPSILON);
        row.map(|(_, channels)| channels).ok_or_else(|| {
            Error::config("width", format!("{} is none of 0.5, 1, 1.5, 2", self.width))
        })
    }
}

impl Network for ShuffleNetV2 {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        let [widths @ .., last] = self.channels()?;
        let mut net = Graph::new(image_shape);
        let norm = BatchNorm::default();
        sequential(&mut net, "conv1", [conv3x3(STEM, 2).into(), norm.into(), Relu {}.into()]);
        net.then("stem", MaxPool::new(3, 2, 1));
        let mut n_in = STEM;
        for (i, (n_out, n)) in widths.into_iter().zip([4, 8, 4]).enumerate() {
            let stage = format!("stage{}", i + 2);
            shrink(&mut net, &format!("{stage}.0"), n_in, n_out);
            for j in 1..n {
                keep(&mut net, &format!("{stage}.{j}"), n_out);
            }
            end_stage(&mut net, &stage);
            n_in = n_out;
        }
        let conv = Conv2d::new(last, 1);
        sequential(&mut net, "conv5", [conv.into(), norm.into(), Relu {}.into()]);
        pool_and_head(net, "fc", Linear::new(n_classes))
    }

    fn usual_data(&self) -> ([usize; 3], usize) {
        ([3, 224, 224], 1000)
    }

    /// `shufflenet-v2-x1.0`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let net = Self { width: name.strip_prefix("shufflenet-v2-x")?.parse().ok()? };
        net.channels().is_ok().then_some(ModelSpec::ShuffleNetV2(net))
    }

    fn short_name(&self) -> String {
        format!("shufflenet-v2-x{:.1}", self.width)
    }
}

/// The block that halves the image: both branches see all channels.
fn shrink(net: &mut Graph, name: &str, n_in: usize, n_out: usize) {
    let (x, half, norm) = (net.output.clone(), n_out / 2, BatchNorm::default());
    let ops = [
        depthwise3x3(n_in, 2).into(),
        norm.into(),
        Conv2d::new(half, 1).into(),
        norm.into(),
        Relu {}.into(),
    ];
    sequential(net, &format!("{name}.branch1"), ops);
    let first = std::mem::replace(&mut net.output, x);
    second_branch(net, name, half, 2);
    join(net, name, &first);
}

/// The block that keeps the size: one half of the channels passes by.
fn keep(net: &mut Graph, name: &str, n: usize) {
    let first = left_half(net, name, n);
    second_branch(net, name, n / 2, 1);
    join(net, name, &first);
}

/// The first half of `n` channels, while the other one goes on.
pub(crate) fn left_half(net: &mut Graph, name: &str, n: usize) -> String {
    let (x, count) = (net.output.clone(), n / 2);
    let half = |first| SliceChannels { first, count };
    let left = net.push(format!("{name}.left"), half(0), &[&x]);
    net.push(format!("{name}.right"), half(count), &[&x]);
    left
}

fn second_branch(net: &mut Graph, name: &str, half: usize, stride: usize) {
    let norm = BatchNorm::default();
    let ops = [
        Conv2d::new(half, 1).into(),
        norm.into(),
        Relu {}.into(),
        depthwise3x3(half, stride).into(),
        norm.into(),
        Conv2d::new(half, 1).into(),
        norm.into(),
        Relu {}.into(),
    ];
    sequential(net, &format!("{name}.branch2"), ops);
}

/// Both branches' channels, in turns.
pub(crate) fn join(net: &mut Graph, name: &str, first: &str) {
    let second = net.output.clone();
    net.push(format!("{name}.concat"), Concat {}, &[first, &second]);
    net.then(format!("{name}.shuffle"), ChannelShuffle { groups: 2 });
}
