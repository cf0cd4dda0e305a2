//! The two networks of defensive distillation.

use candle_core::Device;
use kd_core::ops::Pool;
use kd_core::{Classifier, ConvSpec, Error, Result, Stream};
use serde::{Deserialize, Serialize};

use crate::staged::{Block, Builder, Layer};
use crate::{ModelSpec, Network};

/// The networks of Papernot et al. 2016 (arXiv:1511.04508, table 2), which are those of the
/// paper's table 3: twice two 3x3 convolutions without padding and 2x2 max-pooling, then two dense
/// layers, all with ReLU.
///
/// Parameters are named `conv1` ... `conv4` and `fc1` ... `fc3`, with PyTorch's default initial
/// values. Features: `conv2` and `conv4` (before pooling), `fc1`, `fc2`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Papernot {
    /// Which of the two.
    pub variant: PapernotVariant,
    /// Probability with which a unit between the two dense layers is dropped in training, in
    /// `[0, 1)`; 0.5 in Carlini and Wagner's code.
    #[serde(default)]
    pub dropout: f32,
}

/// The sizes of a [`Papernot`] network, by the data set that they were chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PapernotVariant {
    /// 32 and 64 channels, 200 units.
    Mnist,
    /// 64 and 128 channels, 256 units.
    Cifar10,
}

impl Default for Papernot {
    /// The smaller one.
    fn default() -> Self {
        Self { variant: PapernotVariant::Mnist, dropout: 0.5 }
    }
}

const HALVE: Pool = Pool { kernel: 2, stride: 2, padding: 0 };

impl Papernot {
    /// Channels of the two pairs of convolutions, and units of a dense layer.
    fn sizes(&self) -> ([usize; 2], usize) {
        match self.variant {
            PapernotVariant::Mnist => ([32, 64], 200),
            PapernotVariant::Cifar10 => ([64, 128], 256),
        }
    }
}

/// Pixels of an image's side that two 3x3 convolutions and 2x2 pooling leave over.
fn left_over(side: usize) -> usize {
    (side - 4) / 2
}

fn conv(net: &mut Builder, name: &str, n_in: usize, n_out: usize) -> Result<Box<dyn Block>> {
    let spec = ConvSpec { bias: true, ..ConvSpec::new(n_in, n_out, 3) };
    Ok(Box::new(Layer::ConvRelu(net.conv(name, spec)?)))
}

impl Network for Papernot {
    fn build(
        &self,
        image_shape: [usize; 3],
        n_classes: usize,
        stream: Stream,
        device: &Device,
    ) -> Result<Box<dyn Classifier>> {
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::config("dropout", format!("{} is not in [0, 1)", self.dropout)));
        }
        let ([a, b], n_units) = self.sizes();
        let mut net = Builder::new(image_shape, stream, device)?;
        net.at_least(16)?;
        let [n_in, height, width] = image_shape;
        let first = vec![conv(&mut net, "conv1", n_in, a)?, conv(&mut net, "conv2", a, a)?];
        net.stage("conv2", first);
        let mut second: Vec<Box<dyn Block>> = vec![Box::new(Layer::MaxPool(HALVE))];
        second.extend([conv(&mut net, "conv3", a, b)?, conv(&mut net, "conv4", b, b)?]);
        net.stage("conv4", second);
        let n_flat = b * left_over(left_over(height)) * left_over(left_over(width));
        let dense = Layer::LinearRelu(net.linear("fc1", (n_flat, n_units))?, self.dropout);
        let pool = Layer::MaxPool(HALVE);
        net.stage("fc1", vec![Box::new(pool), Box::new(Layer::Flatten), Box::new(dense)]);
        let dense = Layer::LinearRelu(net.linear("fc2", (n_units, n_units))?, 0.0);
        net.stage("fc2", vec![Box::new(dense)]);
        let head = net.linear("fc3", (n_units, n_classes))?;
        Ok(net.finish(head, n_classes))
    }

    /// `papernot-mnist`, `papernot-cifar10`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let variant = match name.strip_prefix("papernot-")? {
            "mnist" => PapernotVariant::Mnist,
            "cifar10" => PapernotVariant::Cifar10,
            _ => return None,
        };
        Some(ModelSpec::Papernot(Self { variant, ..Self::default() }))
    }

    fn short_name(&self) -> String {
        match self.variant {
            PapernotVariant::Mnist => "papernot-mnist".into(),
            PapernotVariant::Cifar10 => "papernot-cifar10".into(),
        }
    }
}
