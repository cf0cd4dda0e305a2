//! The small ResNets of CIFAR-10.

use kd_core::ops::{Init, Linear};
use kd_core::{Error, Graph, Result};
use serde::{Deserialize, Serialize};

use crate::layers::{Block, Shortcut, conv_norm_relu, conv3x3, end_stage, pool_and_head};
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

impl Default for CifarResNet {
    /// The smallest of the family.
    fn default() -> Self {
        Self { depth: 8, shortcut: ShortcutOption::A }
    }
}

impl Network for CifarResNet {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        check_depth(self.depth)?;
        let shortcut = match self.shortcut {
            ShortcutOption::A => Shortcut::Pad,
            ShortcutOption::B => Shortcut::Projection("shortcut"),
        };
        let mut net = Graph::new(image_shape);
        stages(&mut net, self.depth, [16, 16, 32, 64], (Init::KaimingFanIn, shortcut));
        let kaiming = Init::Normal((2.0 / 64f64).sqrt());
        let head = Linear::new(n_classes).init(kaiming, Init::Pytorch);
        pool_and_head(net, "linear", head)
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

/// The wide CIFAR ResNets of RepDistiller: 32 channels in the stem, then 64, 128 and 256; teachers
/// and students of the published comparisons (Tian et al. 2020, arXiv:1910.10699).
///
/// Names and initial values are RepDistiller's (`downsample`, `fc`; Kaiming normal by fan-out);
/// shortcuts are of option B. Features as those of [`CifarResNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CifarResNetX4 {
    /// 8 or 32 in the comparisons; 14, 20, 44, 56 and 110 as well.
    pub depth: usize,
}

impl Default for CifarResNetX4 {
    /// The comparisons' student.
    fn default() -> Self {
        Self { depth: 8 }
    }
}

impl Network for CifarResNetX4 {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        check_depth(self.depth)?;
        let shortcut = Shortcut::Projection("downsample");
        let mut net = Graph::new(image_shape);
        stages(&mut net, self.depth, [32, 64, 128, 256], (Init::KaimingFanOut, shortcut));
        pool_and_head(net, "fc", Linear::new(n_classes))
    }

    /// `resnet8x4`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let depth = name.strip_prefix("resnet")?.strip_suffix("x4")?.parse().ok()?;
        DEPTHS.contains(&depth).then_some(ModelSpec::CifarResNetX4(Self { depth }))
    }

    fn short_name(&self) -> String {
        format!("resnet{}x4", self.depth)
    }
}

fn check_depth(depth: usize) -> Result<()> {
    if DEPTHS.contains(&depth) {
        return Ok(());
    }
    Err(Error::config("depth", format!("{depth} is none of {DEPTHS:?}")))
}

/// The stem and three stages of basic blocks, by their channels.
fn stages(
    net: &mut Graph,
    depth: usize,
    [stem, widths @ ..]: [usize; 4],
    (init, shortcut): (Init, Shortcut),
) {
    conv_norm_relu(net, ["conv1", "bn1", "stem"], conv3x3(stem, 1).init(init));
    let mut n_in = stem;
    for (i, width) in widths.into_iter().enumerate() {
        let stage = format!("layer{}", i + 1);
        for j in 0..(depth - 2) / 6 {
            let stride = if i > 0 && j == 0 { 2 } else { 1 };
            let name = format!("{stage}.{j}");
            Block { name, n_in, width, stride, init, shortcut }.basic(net);
            n_in = width;
        }
        end_stage(net, &stage);
    }
}
