//! The two networks of defensive distillation.

use kd_core::ops::{Conv2d, Flatten, Init, Linear, MaxPool, Relu};
use kd_core::{Graph, Result};
use serde::{Deserialize, Serialize};

use crate::layers::{checked, dropout};
use crate::{ModelSpec, Network};

/// The networks of Papernot et al. 2016 (arXiv:1511.04508, table 2), which are those of the
/// paper's table 3: twice two 3x3 convolutions without padding and 2x2 max-pooling, then two dense
/// layers, all with ReLU.
///
/// Parameters are named `conv1` ... `conv4` and `fc1` ... `fc3`, with PyTorch's default initial
/// values. Features: `conv2.relu` and `conv4.relu` (before pooling), `fc1.relu`, `fc2.relu`.
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

impl Papernot {
    /// Channels of the two pairs of convolutions, and units of a dense layer.
    fn sizes(&self) -> ([usize; 2], usize) {
        match self.variant {
            PapernotVariant::Mnist => ([32, 64], 200),
            PapernotVariant::Cifar10 => ([64, 128], 256),
        }
    }
}

impl Network for Papernot {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        let ([a, b], n_units) = self.sizes();
        let mut net = Graph::new(image_shape);
        for (i, n_out) in [(1, a), (2, a), (3, b), (4, b)] {
            net.then(format!("conv{i}"), Conv2d::new(n_out, 3).bias(Init::Pytorch));
            net.then(format!("conv{i}.relu"), Relu {});
            if i % 2 == 0 {
                net.then(format!("conv{i}.pool"), MaxPool::new(2, 2, 0));
            }
        }
        net.then("flatten", Flatten {});
        net.then("fc1", Linear::new(n_units));
        net.then("fc1.relu", Relu {});
        dropout(&mut net, "fc1.dropout", self.dropout, None);
        net.then("fc2", Linear::new(n_units));
        net.then("fc2.relu", Relu {});
        net.then("fc3", Linear::new(n_classes));
        checked(net)
    }

    fn usual_data(&self) -> ([usize; 3], usize) {
        match self.variant {
            PapernotVariant::Mnist => ([1, 28, 28], 10),
            PapernotVariant::Cifar10 => ([3, 32, 32], 10),
        }
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
