//! Wide residual networks.

use candle_core::Device;
use kd_core::ops::dropout;
use kd_core::{
    Act, BatchNorm2d, Classifier, Conv2d, ConvInit, ConvNorm, ConvSpec, Error, Mode, Result,
    Stream, Tape,
};
use serde::{Deserialize, Serialize};

use crate::residual::conv3x3;
use crate::staged::{Block, Builder, Layer};
use crate::{ModelSpec, Network};

/// WRN-depth-widen (Zagoruyko, Komodakis 2016, arXiv:1605.07146): pre-activated basic blocks of 16,
/// 32 and 64 times `widen` channels, with the parameter names and initial values of RepDistiller
/// (`block1.layer.0.conv1`, `convShortcut`; Kaiming normal by fan-out).
///
/// Features: `stem`, `block1`, `block2`, `block3` (before their batch norm) and `pool`.
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
const INIT: ConvInit = ConvInit::KaimingNormalFanOut;

impl WideResNet {
    fn check(&self) -> Result<()> {
        if !(10..=MAX_DEPTH).contains(&self.depth) || self.depth % 6 != 4 {
            let reason = format!("{} is not 6 n + 4 in 10..={MAX_DEPTH}", self.depth);
            return Err(Error::config("depth", reason));
        }
        if !(1..=MAX_WIDEN).contains(&self.widen) {
            let reason = format!("{} is not in 1..={MAX_WIDEN}", self.widen);
            return Err(Error::config("widen", reason));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::config("dropout", format!("{} is not in [0, 1)", self.dropout)));
        }
        Ok(())
    }
}

impl Network for WideResNet {
    fn build(
        &self,
        image_shape: [usize; 3],
        n_classes: usize,
        stream: Stream,
        device: &Device,
    ) -> Result<Box<dyn Classifier>> {
        self.check()?;
        let mut net = Builder::new(image_shape, stream, device)?;
        let spec = ConvSpec { init: INIT, ..conv3x3(net.n_channels(), 16, 1) };
        let stem = Layer::Conv(net.conv("conv1", spec)?);
        net.stage("stem", vec![Box::new(stem)]);
        let mut n_in = 16;
        for i in 0..3 {
            let (stage, n_out) = (format!("block{}", i + 1), (16 << i) * self.widen);
            let mut blocks: Vec<Box<dyn Block>> = Vec::new();
            for j in 0..(self.depth - 4) / 6 {
                let stride = if i > 0 && j == 0 { 2 } else { 1 };
                let name = format!("{stage}.layer.{j}");
                let dropout = (self.dropout, (MAX_DEPTH * i + j) as u64);
                let block = WideBlock::new(&mut net, &name, (n_in, n_out), stride, dropout)?;
                blocks.push(Box::new(block));
                n_in = n_out;
            }
            net.stage(&stage, blocks);
        }
        let norm = Layer::NormRelu(net.norm("bn1", n_in)?);
        net.stage("pool", vec![Box::new(norm), Box::new(Layer::GlobalAvgPool)]);
        let head = net.linear("fc", (n_in, n_classes))?;
        net.zero("fc.bias")?;
        Ok(net.finish(head, n_classes))
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
    norm: BatchNorm2d,
    first: ConvNorm,
    second: Conv2d,
    shortcut: Option<Conv2d>,
    /// The probability, and the number of the block's stream.
    dropout: (f32, u64),
}

impl WideBlock {
    fn new(
        net: &mut Builder,
        name: &str,
        (n_in, n_out): (usize, usize),
        stride: usize,
        dropout: (f32, u64),
    ) -> Result<Self> {
        let at = |part: &str| format!("{name}.{part}");
        let with_init = |spec| ConvSpec { init: INIT, ..spec };
        let norm = net.norm(&at("bn1"), n_in)?;
        let first = with_init(conv3x3(n_in, n_out, stride));
        let first = net.conv_norm((&at("conv1"), &at("bn2")), first)?;
        let second = net.conv(&at("conv2"), with_init(conv3x3(n_out, n_out, 1)))?;
        let shortcut = (n_in != n_out).then(|| {
            let spec = ConvSpec { stride, ..ConvSpec::new(n_in, n_out, 1) };
            net.conv(&at("convShortcut"), with_init(spec))
        });
        let shortcut = shortcut.transpose()?;
        Ok(Self { norm, first, second, shortcut, dropout })
    }
}

impl Block for WideBlock {
    fn record(&self, tape: &mut Tape, x: &Act) -> Result<Act> {
        let active = self.norm.record(tape, x, None, true)?;
        let mut y = self.first.record(tape, &active, None, true)?;
        if let (Mode::Train(stream), (p, number)) = (tape.mode(), self.dropout)
            && p > 0.0
        {
            y = tape.tensor_op(&y, |y| dropout(y, p, stream.number(number)))?;
        }
        let y = self.second.record(tape, &y, false)?;
        match &self.shortcut {
            Some(conv) => {
                let projected = conv.record(tape, &active, false)?;
                tape.add(&projected, &y)
            }
            None => tape.add(x, &y),
        }
    }
}
