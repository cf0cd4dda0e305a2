//! The residual blocks of He et al. 2016 (arXiv:1512.03385).

use candle_core::Tensor;
use kd_core::ops::{Pool, avg_pool2d};
use kd_core::{ConvInit, ConvNorm, ConvSpec, Mode, Result};

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

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Pad { stride, n_zeros } => subsample_and_pad(x, *stride, *n_zeros),
            Self::Projection(conv) => conv.forward(x, None, false, mode),
        }
    }
}

/// `x[:, ::stride, ::stride, :]` with `n_zeros` zero channels before and after.
fn subsample_and_pad(x: &Tensor, stride: usize, n_zeros: usize) -> Result<Tensor> {
    // The mean over windows of one pixel takes every `stride`-th pixel, and has a gradient.
    let sampled = avg_pool2d(x, Pool { kernel: 1, stride, padding: 0 })?;
    Ok(sampled.pad_with_zeros(3, n_zeros, n_zeros)?)
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
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let y = self.first.forward(x, None, true, mode)?;
        let shortcut = self.shortcut.forward(x, mode)?;
        self.second.forward(&y, Some(&shortcut), true, mode)
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
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let y = self.narrow.forward(x, None, true, mode)?;
        let y = self.middle.forward(&y, None, true, mode)?;
        let shortcut = self.shortcut.forward(x, mode)?;
        self.widen.forward(&y, Some(&shortcut), true, mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use kd_core::Stream;
    use kd_core::testing::{check_grad, random};

    #[test]
    fn option_a_takes_every_second_pixel_between_zero_channels() {
        let x = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap().reshape((1, 3, 2, 2)).unwrap();
        let y = subsample_and_pad(&x, 2, 1).unwrap();
        assert_eq!(y.dims(), [1, 2, 1, 4]);
        let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(y, [0.0, 0.0, 1.0, 0.0, 0.0, 8.0, 9.0, 0.0]);
    }

    #[test]
    fn option_a_has_the_right_gradient() {
        for shape in [[2, 4, 4, 2], [1, 5, 3, 3]] {
            let x = [random(Stream::new(1), &shape)];
            check_grad(&x, |t| subsample_and_pad(&t[0], 2, 1));
        }
    }
}
