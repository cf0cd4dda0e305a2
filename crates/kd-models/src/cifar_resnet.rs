//! The small ResNets of CIFAR-10.

use candle_core::Device;
use kd_core::{Classifier, ConvInit, ConvSpec, Error, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::residual::{BasicBlock, Place, Shortcut, conv3x3};
use crate::staged::{Block, Builder, Layer};
use crate::{ModelSpec, Network};

/// ResNet-8 to 110 with 16, 32 and 64 channels (He et al. 2016, arXiv:1512.03385, section 4.2),
/// with the parameter names and initial values of akamaster's pytorch_resnet_cifar10 (`linear`,
/// `shortcut`; Kaiming normal by fan-in, also for the linear layer).
///
/// Features: `stem`, `layer1`, `layer2`, `layer3` and `pool`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarResNet {
    /// 8, 14, 20, 32, 44, 56 or 110.
    pub depth: usize,
    /// How a stage's first block passes on its input.
    #[serde(default)]
    pub shortcut: ShortcutOption,
}

/// Shortcuts between stages, by the paper's letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShortcutOption {
    /// Every second pixel, padded with zero channels: no parameters.
    #[default]
    A,
    /// A 1x1 convolution with batch norm.
    B,
}

const DEPTHS: [usize; 7] = [8, 14, 20, 32, 44, 56, 110];
const INIT: ConvInit = ConvInit::KaimingNormalFanIn;

impl Default for CifarResNet {
    /// The smallest of the family.
    fn default() -> Self {
        Self { depth: 8, shortcut: ShortcutOption::A }
    }
}

impl CifarResNet {
    fn block(&self, net: &mut Builder, place: Place) -> Result<Box<dyn Block>> {
        let shortcut = match self.shortcut {
            ShortcutOption::A => Shortcut::pad(place),
            ShortcutOption::B => Shortcut::projection(net, "shortcut", place, place.width)?,
        };
        Ok(Box::new(BasicBlock::new(net, place, shortcut)?))
    }
}

impl Network for CifarResNet {
    fn build(
        &self,
        image_shape: [usize; 3],
        n_classes: usize,
        stream: Stream,
        device: &Device,
    ) -> Result<Box<dyn Classifier>> {
        if !DEPTHS.contains(&self.depth) {
            return Err(Error::config("depth", format!("{} is none of {DEPTHS:?}", self.depth)));
        }
        let mut net = Builder::new(image_shape, stream, device)?;
        let spec = ConvSpec { init: INIT, ..conv3x3(net.n_channels(), 16, 1) };
        let stem = Layer::ConvNormRelu(net.conv_norm(("conv1", "bn1"), spec)?);
        net.stage("stem", vec![Box::new(stem)]);
        let mut n_in = 16;
        for (i, width) in [16, 32, 64].into_iter().enumerate() {
            let (stage, mut blocks) = (format!("layer{}", i + 1), Vec::new());
            for j in 0..(self.depth - 2) / 6 {
                let stride = if i > 0 && j == 0 { 2 } else { 1 };
                let name = format!("{stage}.{j}");
                let place = Place { name: &name, n_in, width, stride, init: INIT };
                blocks.push(self.block(&mut net, place)?);
                n_in = width;
            }
            net.stage(&stage, blocks);
        }
        net.stage("pool", vec![Box::new(Layer::GlobalAvgPool)]);
        let head = net.linear("linear", (n_in, n_classes))?;
        net.draw_normal("linear.weight", (2.0 / n_in as f64).sqrt())?;
        Ok(net.finish(head, n_classes))
    }

    /// `resnet20`, `resnet20-b`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let name = name.strip_prefix("resnet")?;
        let (depth, shortcut) = match name.strip_suffix("-b") {
            Some(depth) => (depth, ShortcutOption::B),
            None => (name, ShortcutOption::A),
        };
        let depth = depth.parse().ok().filter(|depth| DEPTHS.contains(depth))?;
        Some(ModelSpec::CifarResNet(Self { depth, shortcut }))
    }

    fn short_name(&self) -> String {
        let shortcut = if self.shortcut == ShortcutOption::B { "-b" } else { "" };
        format!("resnet{}{shortcut}", self.depth)
    }
}
