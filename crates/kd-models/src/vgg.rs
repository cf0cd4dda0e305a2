//! VGG networks for small images.

use kd_core::ops::{Init, Linear, MaxPool};
use kd_core::{Error, Graph, Result};
use serde::{Deserialize, Serialize};

use crate::layers::{conv_norm_relu, conv3x3, end_stage, pool_and_head};
use crate::{ModelSpec, Network};

/// VGG-8 and VGG-13 with batch norm as RepDistiller has them for CIFAR (after Simonyan, Zisserman
/// 2015, arXiv:1409.1556): five blocks of 64, 128, 256, 512 and 512 channels with one or two 3x3
/// convolutions each, global average pooling and one linear layer.
///
/// Names are RepDistiller's: `block0.0` is a convolution (with bias), `block0.1` its batch norm,
/// `classifier` the linear layer. Max-pooling follows the first three blocks, and the fourth only
/// for images 64 pixels high, as there. Initial values: Kaiming normal by fan-out, N(0, 0.01²) for
/// the linear layer, biases 0.
///
/// Features: `block0` ... `block4` (before pooling) and `pool`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vgg {
    /// 8 or 13.
    pub depth: usize,
}

impl Default for Vgg {
    /// The smaller of the two.
    fn default() -> Self {
        Self { depth: 8 }
    }
}

const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];

impl Vgg {
    /// Number of convolutions of each block.
    fn n_convs(&self) -> Result<usize> {
        match self.depth {
            8 => Ok(1),
            13 => Ok(2),
            depth => Err(Error::config("depth", format!("{depth} is neither 8 nor 13"))),
        }
    }
}

impl Network for Vgg {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        let n_convs = self.n_convs()?;
        let n_pools = if image_shape[1] == 64 { 4 } else { 3 };
        let mut net = Graph::new(image_shape);
        for (i, n_out) in WIDTHS.into_iter().enumerate() {
            let block = format!("block{i}");
            if (1..=n_pools).contains(&i) {
                net.then(format!("{block}.pool"), MaxPool::new(2, 2, 0));
            }
            for j in 0..n_convs {
                // In PyTorch's `Sequential`, convolution, batch norm and ReLU have a number each.
                let names = [3 * j, 3 * j + 1, 3 * j + 2].map(|i| format!("{block}.{i}"));
                let conv = conv3x3(n_out, 1).bias(Init::Zeros).init(Init::KaimingFanOut);
                conv_norm_relu(&mut net, names.each_ref().map(String::as_str), conv);
            }
            end_stage(&mut net, &block);
        }
        let head = Linear::new(n_classes).init(Init::Normal(0.01), Init::Zeros);
        pool_and_head(net, "classifier", head)
    }

    /// `vgg8`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let net = Self { depth: name.strip_prefix("vgg")?.parse().ok()? };
        net.n_convs().is_ok().then_some(ModelSpec::Vgg(net))
    }

    fn short_name(&self) -> String {
        format!("vgg{}", self.depth)
    }
}
