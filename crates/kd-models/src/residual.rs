//! The residual blocks of He et al. 2016 (arXiv:1512.03385).

use kd_core::{Act, ConvInit, ConvNorm, ConvSpec, Result, Tape};

use crate::staged::{Block, Builder};

/// Where a block stands in its network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The block's name, such as `layer2.0`.
    pub(crate) name: &'a str,
    /// Channels of its input.
    pub(crate) n_in: usize,
    /// Channels of its 3x3 convolutions.
    pub(crate) width: usize,
    /// How far its convolution moves, 1 or 2.
    pub(crate) stride: usize,
    /// Initial values of its convolutions.
    pub(crate) init: ConvInit,
}

impl Place<'_> {
    /// The `i`-th convolution of the block with its batch norm: `conv1` and `bn1`, and so on.
    fn conv_norm(&self, net: &mut Builder, i: usize, spec: ConvSpec) -> Result<ConvNorm> {
        let names = (format!("{}.conv{i}", self.name), format!("{}.bn{i}", self.name));
        net.conv_norm((&names.0, &names.1), ConvSpec { init: self.init, ..spec })
    }
}

/// A convolution that keeps the size of an image, or halves it with stride 2.
pub(crate) fn conv3x3(n_in: usize, n_out: usize, stride: usize) -> ConvSpec {
    ConvSpec { stride, padding: 1, ..ConvSpec::new(n_in, n_out, 3) }
}

/// How a block's input reaches its output.
pub(crate) enum Shortcut {
    /// As it is.
    Identity,
    /// Every `stride`-th pixel, with so many zero channels on both sides: option A.
    Pad { stride: usize, n_zeros: usize },
    /// By a 1x1 convolution and batch norm: option B.
    Projection(ConvNorm),
}

impl Shortcut {
    /// Option A: no parameters.
    pub(crate) fn pad(place: Place) -> Self {
        let Place { n_in, width, stride, .. } = place;
        match (stride, width - n_in) {
            (1, 0) => Self::Identity,
            (stride, n_more) => Self::Pad { stride, n_zeros: n_more / 2 },
        }
    }

    /// Option B, to `n_out` channels: `NAME.0` is the convolution, `NAME.1` the batch norm.
    pub(crate) fn projection(
        net: &mut Builder,
        name: &str,
        place: Place,
        n_out: usize,
    ) -> Result<Self> {
        let Place { n_in, stride, init, .. } = place;
        if stride == 1 && n_in == n_out {
            return Ok(Self::Identity);
        }
        let names = (format!("{}.{name}.0", place.name), format!("{}.{name}.1", place.name));
        let spec = ConvSpec { stride, init, ..ConvSpec::new(n_in, n_out, 1) };
        Ok(Self::Projection(net.conv_norm((&names.0, &names.1), spec)?))
    }

    fn record(&self, tape: &mut Tape, x: &Act) -> Result<Act> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Pad { stride, n_zeros } => tape.subsample(x, *stride, *n_zeros),
            Self::Projection(conv) => conv.record(tape, x, None, false),
        }
    }
}

/// Two 3x3 convolutions: `relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))`.
pub(crate) struct BasicBlock {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Shortcut,
}

impl BasicBlock {
    pub(crate) fn new(net: &mut Builder, place: Place, shortcut: Shortcut) -> Result<Self> {
        let Place { n_in, width, stride, .. } = place;
        let first = place.conv_norm(net, 1, conv3x3(n_in, width, stride))?;
        let second = place.conv_norm(net, 2, conv3x3(width, width, 1))?;
        Ok(Self { first, second, shortcut })
    }
}

impl Block for BasicBlock {
    fn record(&self, tape: &mut Tape, x: &Act) -> Result<Act> {
        let y = self.first.record(tape, x, None, true)?;
        let shortcut = self.shortcut.record(tape, x)?;
        self.second.record(tape, &y, Some(&shortcut), true)
    }
}

/// 1x1, 3x3 and 1x1 convolutions, the last to four times as many channels. The stride is in the
/// 3x3 convolution, as in torchvision ("ResNet v1.5"); He et al. have it in the first 1x1.
pub(crate) struct Bottleneck {
    narrow: ConvNorm,
    middle: ConvNorm,
    widen: ConvNorm,
    shortcut: Shortcut,
}

impl Bottleneck {
    /// Output channels per channel of the 3x3 convolution.
    pub(crate) const EXPANSION: usize = 4;

    pub(crate) fn new(net: &mut Builder, place: Place, shortcut: Shortcut) -> Result<Self> {
        let Place { n_in, width, stride, .. } = place;
        let narrow = place.conv_norm(net, 1, ConvSpec::new(n_in, width, 1))?;
        let middle = place.conv_norm(net, 2, conv3x3(width, width, stride))?;
        let widen = place.conv_norm(net, 3, ConvSpec::new(width, Self::EXPANSION * width, 1))?;
        Ok(Self { narrow, middle, widen, shortcut })
    }
}

impl Block for Bottleneck {
    fn record(&self, tape: &mut Tape, x: &Act) -> Result<Act> {
        let y = self.narrow.record(tape, x, None, true)?;
        let y = self.middle.record(tape, &y, None, true)?;
        let shortcut = self.shortcut.record(tape, x)?;
        self.widen.record(tape, &y, Some(&shortcut), true)
    }
}
