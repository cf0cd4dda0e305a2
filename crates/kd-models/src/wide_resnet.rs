//! Wide residual networks.

use kd_core::ops::{Add, BatchNorm, Conv2d, Init, Linear, Relu};
use kd_core::{Error, Graph, Result, in_range};
use serde::{Deserialize, Serialize};

use crate::layers::{conv_norm_relu, conv3x3, dropout, end_stage, pool_and_head};
use crate::{ModelSpec, Network};

/// WRN-depth-widen (Zagoruyko, Komodakis 2016, arXiv:1605.07146): pre-activated basic blocks of 16,
/// 32 and 64 times `widen` channels, with the parameter names and initial values of RepDistiller
/// (`block1.layer.0.conv1`, `convShortcut`; Kaiming normal by fan-out).
///
/// Features: `conv1`, `block1`, `block2`, `block3` (before their batch norm) and `pool`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WideResNet {
    /// 6 n + 4 for n blocks a stage: 16, 28, 40, ...
    pub depth: usize,
    /// Channels per channel of the narrow network.
    pub widen: usize,
    /// Probability with which a value between a block's convolutions is dropped in training, in
    /// `[0, 1)`.
    #[serde(default)]
    pub dropout: f32,
}

impl Default for WideResNet {
    /// WRN-16-2.
    fn default() -> Self {
        Self { depth: 16, widen: 2, dropout: 0.0 }
    }
}

/// Larger ones would have more than 2^30 parameters.
const MAX_DEPTH: usize = 100;
const MAX_WIDEN: usize = 20;
const INIT: Init = Init::KaimingFanOut;

impl WideResNet {
    fn check(&self) -> Result<()> {
        if !(10..=MAX_DEPTH).contains(&self.depth) || self.depth % 6 != 4 {
            let reason = format!("{} is not 6 n + 4 in 10..={MAX_DEPTH}", self.depth);
            return Err(Error::config("depth", reason));
        }
        in_range("widen", self.widen, 1, MAX_WIDEN)
    }
}

impl Network for WideResNet {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        self.check()?;
        let mut net = Graph::new(image_shape);
        net.then("conv1", conv3x3(16, 1).init(INIT));
        let mut n_in = 16;
        for i in 0..3 {
            let (stage, n_out) = (format!("block{}", i + 1), (16 << i) * self.widen);
            for j in 0..(self.depth - 4) / 6 {
                let stride = if i > 0 && j == 0 { 2 } else { 1 };
                let dropout = (self.dropout, (MAX_DEPTH * i + j) as u64);
                let name = format!("{stage}.layer.{j}");
                WideBlock { name, n_in, n_out, stride, dropout }.push(&mut net);
                n_in = n_out;
            }
            end_stage(&mut net, &stage);
        }
        net.then("bn1", BatchNorm::default());
        net.then("relu", Relu {});
        pool_and_head(net, "fc", Linear::new(n_classes).init(Init::Pytorch, Init::Zeros))
    }

    /// `wrn-28-10`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let (depth, widen) = name.strip_prefix("wrn-")?.split_once('-')?;
        let (depth, widen) = (depth.parse().ok()?, widen.parse().ok()?);
        let net = Self { depth, widen, dropout: 0.0 };
        net.check().is_ok().then_some(ModelSpec::WideResNet(net))
    }

    fn short_name(&self) -> String {
        format!("wrn-{}-{}", self.depth, self.widen)
    }
}

/// `shortcut(x) + conv2(dropout(relu(bn2(conv1(a)))))` with `a = relu(bn1(x))`; the shortcut is x,
/// or a 1x1 convolution of a where the number of channels changes.
struct WideBlock {
    name: String,
    n_in: usize,
    n_out: usize,
    stride: usize,
    /// The probability, and the number of the random stream.
    dropout: (f32, u64),
}

impl WideBlock {
    fn push(&self, net: &mut Graph) {
        let at = |part: &str| format!("{}.{part}", self.name);
        let mut shortcut = net.output.clone();
        net.then(at("bn1"), BatchNorm::default());
        let active = net.then(at("relu1"), Relu {});
        if self.n_in != self.n_out {
            let op = Conv2d::new(self.n_out, 1).stride(self.stride).init(INIT);
            shortcut = net.then(at("convShortcut"), op);
        }
        net.output = active;
        let names = [&at("conv1"), &at("bn2"), &at("relu2")];
        conv_norm_relu(net, names.map(String::as_str), conv3x3(self.n_out, self.stride).init(INIT));
        let (p, stream) = self.dropout;
        dropout(net, &at("dropout"), p, Some(stream));
        let y = net.then(at("conv2"), conv3x3(self.n_out, 1).init(INIT));
        net.push(at("add"), Add {}, &[&shortcut, &y]);
    }
}
