//! The ShuffleNets of RepDistiller's comparisons.

use kd_core::ops::{Add, AvgPool, BatchNorm, ChannelShuffle, Concat, Conv2d, Linear, Relu};
use kd_core::{Graph, Result};
use serde::{Deserialize, Serialize};

use crate::layers::{conv_norm_relu, depthwise3x3, end_stage, pool_and_head};
use crate::shufflenet_v2::{join, left_half};
use crate::{ModelSpec, Network};

/// ShuffleNet (Zhang et al. 2018, arXiv:1707.01083) with three groups as RepDistiller has it for
/// CIFAR (Tian et al. 2020, arXiv:1910.10699): a 1x1 stem and three stages of 240, 480 and 960
/// channels. It differs from the paper's network also by a ReLU after the 3x3 convolutions.
///
/// Names are RepDistiller's (`layer1.0.conv1`, `linear`), initial values PyTorch's defaults.
/// Features: `stem`, `layer1`, `layer2`, `layer3` and `pool`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarShuffleNetV1 {}

/// ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164) as RepDistiller has it for CIFAR: a 1x1 stem and
/// three stages of 116, 232 and 464 channels.
///
/// Names are RepDistiller's (`layer1.0.conv1`, `linear`), initial values PyTorch's defaults.
/// Features: `stem`, `layer1`, `layer2`, `layer3` and `pool`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarShuffleNetV2 {}

const STEM: usize = 24;
/// Groups of the first version's 1x1 convolutions.
const GROUPS: usize = 3;

fn stem(net: &mut Graph) {
    conv_norm_relu(net, ["conv1", "bn1", "stem"], Conv2d::new(STEM, 1));
}

impl Network for CifarShuffleNetV1 {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        let mut net = Graph::new(image_shape);
        stem(&mut net);
        let mut n_in = STEM;
        for (i, (n_out, n)) in [(240, 4), (480, 8), (960, 4)].into_iter().enumerate() {
            let stage = format!("layer{}", i + 1);
            for j in 0..n {
                unit(&mut net, &format!("{stage}.{j}"), n_in, n_out);
                n_in = n_out;
            }
            end_stage(&mut net, &stage);
        }
        pool_and_head(net, "linear", Linear::new(n_classes))
    }

    /// `shufflenet-v1-cifar`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        (name == self.short_name()).then_some(ModelSpec::CifarShuffleNetV1(Self {}))
    }

    fn short_name(&self) -> String {
        "shufflenet-v1-cifar".into()
    }
}

/// The unit of the first version: added to its input; or, where the number of channels grows, with
/// stride 2 and beside its pooled input.
fn unit(net: &mut Graph, name: &str, n_in: usize, n_out: usize) {
    let at = |part: &str| format!("{name}.{part}");
    let x = net.output.clone();
    let shrinks = n_in != n_out;
    let (stride, n_new) = if shrinks { (2, n_out - n_in) } else { (1, n_out) };
    let (middle, groups) = (n_new / 4, if n_in == STEM { 1 } else { GROUPS });
    let conv = Conv2d::new(middle, 1).groups(groups);
    numbered(net, name, 1, conv);
    net.then(at("shuffle"), ChannelShuffle { groups });
    numbered(net, name, 2, depthwise3x3(middle, stride));
    net.then(at("conv3"), Conv2d::new(n_new, 1).groups(GROUPS));
    let y = net.then(at("bn3"), BatchNorm::default());
    if shrinks {
        let pool = AvgPool { padding: [1; 4], ..AvgPool::new(3, 2) };
        let pooled = net.push(at("shortcut.0"), pool, &[&x]);
        net.push(at("concat"), Concat {}, &[&y, &pooled]);
    } else {
        net.push(at("add"), Add {}, &[&y, &x]);
    }
    net.then(at("relu"), Relu {});
}

/// `relu(bn(conv))` number `i` of a block.
fn numbered(net: &mut Graph, name: &str, i: usize, conv: Conv2d) {
    let names = ["conv", "bn", "relu"].map(|part| format!("{name}.{part}{i}"));
    conv_norm_relu(net, names.each_ref().map(String::as_str), conv);
}

impl Network for CifarShuffleNetV2 {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        let mut net = Graph::new(image_shape);
        stem(&mut net);
        let mut n_in = STEM;
        for (i, (n_out, n)) in [(116, 4), (232, 8), (464, 4)].into_iter().enumerate() {
            let stage = format!("layer{}", i + 1);
            shrink(&mut net, &format!("{stage}.0"), n_in, n_out);
            for j in 1..n {
                keep(&mut net, &format!("{stage}.{j}"), n_out);
            }
            end_stage(&mut net, &stage);
            n_in = n_out;
        }
        conv_norm_relu(&mut net, ["conv2", "bn2", "relu2"], Conv2d::new(1024, 1));
        pool_and_head(net, "linear", Linear::new(n_classes))
    }

    /// `shufflenet-v2-cifar`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        (name == self.short_name()).then_some(ModelSpec::CifarShuffleNetV2(Self {}))
    }

    fn short_name(&self) -> String {
        "shufflenet-v2-cifar".into()
    }
}

/// The block that halves the image: both branches see all channels.
fn shrink(net: &mut Graph, name: &str, n_in: usize, n_out: usize) {
    let (x, half) = (net.output.clone(), n_out / 2);
    conv_norm(net, name, 1, depthwise3x3(n_in, 2));
    numbered(net, name, 2, Conv2d::new(half, 1));
    let left = std::mem::replace(&mut net.output, x);
    numbered(net, name, 3, Conv2d::new(half, 1));
    conv_norm(net, name, 4, depthwise3x3(half, 2));
    numbered(net, name, 5, Conv2d::new(half, 1));
    join(net, name, &left);
}

/// The block that keeps the size: one half of the channels passes by.
fn keep(net: &mut Graph, name: &str, n: usize) {
    let (left, count) = (left_half(net, name, n), n / 2);
    numbered(net, name, 1, Conv2d::new(count, 1));
    conv_norm(net, name, 2, depthwise3x3(count, 1));
    numbered(net, name, 3, Conv2d::new(count, 1));
    join(net, name, &left);
}

fn conv_norm(net: &mut Graph, name: &str, i: usize, conv: Conv2d) {
    net.then(format!("{name}.conv{i}"), conv);
    net.then(format!("{name}.bn{i}"), BatchNorm::default());
}
