//! ResNets for large images and, with another stem, for small ones.

use kd_core::ops::{Conv2d, Init, Linear, MaxPool};
use kd_core::{Error, Graph, Result, in_range};
use serde::{Deserialize, Serialize};

use crate::layers::{Block, Shortcut, conv_norm_relu, conv3x3, end_stage, pool_and_head};
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

    /// The images' way into the network.
    fn stem(&self, net: &mut Graph) {
        let conv = match self.stem {
            Stem::ImageNet => Conv2d::new(self.width, 7).stride(2).padding(3),
            Stem::Cifar => conv3x3(self.width, 1),
        };
        conv_norm_relu(net, ["conv1", "bn1", "relu"], conv.init(INIT));
        if self.stem == Stem::ImageNet {
            net.then("maxpool", MaxPool::new(3, 2, 1));
        }
        end_stage(net, "stem");
    }
}

const INIT: Init = Init::KaimingFanOut;

impl Network for ResNet {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        let n_blocks = self.n_blocks()?;
        in_range("width", self.width, 1, MAX_WIDTH)?;
        let mut net = Graph::new(image_shape);
        self.stem(&mut net);
        let mut n_in = self.width;
        for (i, n) in n_blocks.into_iter().enumerate() {
            let (stage, width) = (format!("layer{}", i + 1), self.width << i);
            for j in 0..n {
                let stride = if i > 0 && j == 0 { 2 } else { 1 };
                let (name, shortcut) = (format!("{stage}.{j}"), Shortcut::Projection("downsample"));
                let block = Block { name, n_in, width, stride, init: INIT, shortcut };
                if self.has_bottlenecks() {
                    block.bottleneck(&mut net);
                    n_in = Block::EXPANSION * width;
                } else {
                    block.basic(&mut net);
                    n_in = width;
                }
            }
            end_stage(&mut net, &stage);
        }
        pool_and_head(net, "fc", Linear::new(n_classes))
    }

    fn usual_data(&self) -> ([usize; 3], usize) {
        match self.stem {
            Stem::ImageNet => ([3, 224, 224], 1000),
            Stem::Cifar => ([3, 32, 32], 10),
        }
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
