//! ResNets for large images and, with another stem, for small ones.

use candle_core::Device;
use kd_core::ops::Pool;
use kd_core::{Classifier, ConvInit, ConvSpec, Error, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::residual::{BasicBlock, Bottleneck, Place, Shortcut, conv3x3};
use crate::staged::{Block, Builder, Layer};
use crate::{ModelSpec, Network};

/// ResNet-18, 34, 50, 101 and 152 (He et al. 2016, arXiv:1512.03385), with torchvision's parameter
/// names and initial values (Kaiming normal by fan-out; batch norms start as the identity, also
/// the last of each block).
///
/// Features: `stem`, `layer1` ... `layer4` and `pool`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNet {
    /// 18, 34, 50, 101 or 152.
    pub depth: usize,
    /// How the images enter.
    pub stem: Stem,
    /// Channels of the stem and of the first stage's 3x3 convolutions; each later stage doubles
    /// them.
    #[serde(default = "full_width")]
    pub width: usize,
}

/// The first layers of a [`ResNet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// A 7x7 convolution with stride 2 and 3x3 max-pooling with stride 2, for images of about 224
    /// pixels.
    ImageNet,
    /// A 3x3 convolution with stride 1, for images of about 32 pixels (as kuangliu's
    /// pytorch-cifar and Li 2018).
    Cifar,
}

/// The width of the paper's networks.
const WIDTH: usize = 64;
/// Above it, ResNet-152 would have more than 2^30 parameters.
const MAX_WIDTH: usize = 256;

fn full_width() -> usize {
    WIDTH
}

impl Default for ResNet {
    /// The student of the paper's CIFAR-10 section.
    fn default() -> Self {
        Self { depth: 18, stem: Stem::Cifar, width: WIDTH }
    }
}

impl ResNet {
    /// Number of blocks of each stage.
    fn n_blocks(&self) -> Result<[usize; 4]> {
        match self.depth {
            18 => Ok([2, 2, 2, 2]),
            34 | 50 => Ok([3, 4, 6, 3]),
            101 => Ok([3, 4, 23, 3]),
            152 => Ok([3, 8, 36, 3]),
            depth => {
                Err(Error::config("depth", format!("{depth} is none of 18, 34, 50, 101, 152")))
            }
        }
    }

    fn has_bottlenecks(&self) -> bool {
        self.depth >= 50
    }

    fn stem(&self, net: &mut Builder) -> Result<Vec<Box<dyn Block>>> {
        let n_in = net.n_channels();
        let spec = match self.stem {
            Stem::ImageNet => {
                ConvSpec { stride: 2, padding: 3, ..ConvSpec::new(n_in, self.width, 7) }
            }
            Stem::Cifar => conv3x3(n_in, self.width, 1),
        };
        let spec = ConvSpec { init: INIT, ..spec };
        let conv = Layer::ConvNormRelu(net.conv_norm(("conv1", "bn1"), spec)?);
        let mut blocks: Vec<Box<dyn Block>> = vec![Box::new(conv)];
        if self.stem == Stem::ImageNet {
            blocks.push(Box::new(Layer::MaxPool(Pool { kernel: 3, stride: 2, padding: 1 })));
        }
        Ok(blocks)
    }

    /// The block at `place`, and the number of its output channels.
    fn block(&self, net: &mut Builder, place: Place) -> Result<(Box<dyn Block>, usize)> {
        let expansion = if self.has_bottlenecks() { Bottleneck::EXPANSION } else { 1 };
        let n_out = expansion * place.width;
        let shortcut = Shortcut::projection(net, "downsample", place, n_out)?;
        let block: Box<dyn Block> = if self.has_bottlenecks() {
            Box::new(Bottleneck::new(net, place, shortcut)?)
        } else {
            Box::new(BasicBlock::new(net, place, shortcut)?)
        };
        Ok((block, n_out))
    }
}

const INIT: ConvInit = ConvInit::KaimingNormalFanOut;

impl Network for ResNet {
    fn build(
        &self,
        image_shape: [usize; 3],
        n_classes: usize,
        stream: Stream,
        device: &Device,
    ) -> Result<Box<dyn Classifier>> {
        let n_blocks = self.n_blocks()?;
        if !(1..=MAX_WIDTH).contains(&self.width) {
            let reason = format!("{} is not in 1..={MAX_WIDTH}", self.width);
            return Err(Error::config("width", reason));
        }
        let mut net = Builder::new(image_shape, stream, device)?;
        let stem = self.stem(&mut net)?;
        net.stage("stem", stem);
        let mut n_in = self.width;
        for (i, n) in n_blocks.into_iter().enumerate() {
            let (stage, width) = (format!("layer{}", i + 1), self.width << i);
            let mut blocks = Vec::with_capacity(n);
            for j in 0..n {
                let stride = if i > 0 && j == 0 { 2 } else { 1 };
                let name = format!("{stage}.{j}");
                let place = Place { name: &name, n_in, width, stride, init: INIT };
                let (block, n_out) = self.block(&mut net, place)?;
                blocks.push(block);
                n_in = n_out;
            }
            net.stage(&stage, blocks);
        }
        net.stage("pool", vec![Box::new(Layer::GlobalAvgPool)]);
        let head = net.linear("fc", (n_in, n_classes))?;
        Ok(net.finish(head, n_classes))
    }

    /// `resnet18`, `resnet18-cifar`, `resnet18-cifar-w16`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let mut parts = name.strip_prefix("resnet")?.split('-');
        let depth = parts.next()?.parse().ok()?;
        let mut net = Self { depth, stem: Stem::ImageNet, width: WIDTH };
        for part in parts {
            match part {
                "cifar" => net.stem = Stem::Cifar,
                _ => net.width = part.strip_prefix('w')?.parse().ok()?,
            }
        }
        net.n_blocks().is_ok().then_some(ModelSpec::ResNet(net))
    }

    fn short_name(&self) -> String {
        let stem = if self.stem == Stem::Cifar { "-cifar" } else { "" };
        let width = if self.width == WIDTH { String::new() } else { format!("-w{}", self.width) };
        format!("resnet{}{stem}{width}", self.depth)
    }
}
