//! VGG networks for small images.

use candle_core::Device;
use kd_core::ops::Pool;
use kd_core::{Classifier, ConvInit, ConvSpec, Error, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::residual::conv3x3;
use crate::staged::{Block, Builder, Layer};
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
const HALVE: Pool = Pool { kernel: 2, stride: 2, padding: 0 };

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

/// Convolution `j` of a block, then its batch norm and ReLU.
fn conv(
    net: &mut Builder,
    block: &str,
    j: usize,
    (n_in, n_out): (usize, usize),
) -> Result<[Box<dyn Block>; 2]> {
    // In PyTorch's `Sequential`, convolution, batch norm and ReLU have a number each.
    let (conv, norm) = (format!("{block}.{}", 3 * j), format!("{block}.{}", 3 * j + 1));
    let init = ConvInit::KaimingNormalFanOut;
    let spec = ConvSpec { bias: true, init, ..conv3x3(n_in, n_out, 1) };
    let layers = [Layer::Conv(net.conv(&conv, spec)?), Layer::NormRelu(net.norm(&norm, n_out)?)];
    net.zero(&format!("{conv}.bias"))?;
    Ok(layers.map(|layer| Box::new(layer) as Box<dyn Block>))
}

impl Network for Vgg {
    fn build(
        &self,
        image_shape: [usize; 3],
        n_classes: usize,
        stream: Stream,
        device: &Device,
    ) -> Result<Box<dyn Classifier>> {
        let n_convs = self.n_convs()?;
        let n_pools = if image_shape[1] == 64 { 4 } else { 3 };
        let mut net = Builder::new(image_shape, stream, device)?;
        net.at_least(1 << n_pools)?;
        let mut n_in = net.n_channels();
        for (i, n_out) in WIDTHS.into_iter().enumerate() {
            let (stage, mut blocks) = (format!("block{i}"), Vec::<Box<dyn Block>>::new());
            if (1..=n_pools).contains(&i) {
                blocks.push(Box::new(Layer::MaxPool(HALVE)));
            }
            for j in 0..n_convs {
                blocks.extend(conv(&mut net, &stage, j, (n_in, n_out))?);
                n_in = n_out;
            }
            net.stage(&stage, blocks);
        }
        net.stage("pool", vec![Box::new(Layer::GlobalAvgPool)]);
        let head = net.linear("classifier", (n_in, n_classes))?;
        net.draw_normal("classifier.weight", 0.01)?;
        net.zero("classifier.bias")?;
        Ok(net.finish(head, n_classes))
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
