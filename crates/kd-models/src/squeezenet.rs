//! SqueezeNet.

use kd_core::ops::{Concat, Conv2d, Flatten, GlobalAvgPool, Init, MaxPool, Relu};
use kd_core::{Graph, Result};
use serde::{Deserialize, Serialize};

use crate::layers::{checked, dropout};
use crate::{ModelSpec, Network};

/// SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360, with the smaller first layers that its
/// authors published afterwards), with torchvision's parameter names: `features.3.squeeze`,
/// `classifier.1`.
///
/// Initial values are normal with torchvision's variances (Kaiming by fan-in, where torchvision
/// draws uniformly; N(0, 0.01^2) for the last convolution), biases 0. Features: the outputs of the
/// fire modules, `features.3` ... `features.12`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqueezeNet {
    /// Probability with which a value before the last convolution is dropped in training, in
    /// `[0, 1)`.
    pub dropout: f32,
}

impl Default for SqueezeNet {
    /// The paper's dropout.
    fn default() -> Self {
        Self { dropout: 0.5 }
    }
}

const INIT: Init = Init::KaimingFanIn;
/// Channels of the fire modules' squeezing and of each expanding convolution; pooling comes before
/// the modules 3, 5 and 9.
const FIRE: [(usize, usize, usize); 8] = [
    (3, 16, 64),
    (4, 16, 64),
    (6, 32, 128),
    (7, 32, 128),
    (9, 48, 192),
    (10, 48, 192),
    (11, 64, 256),
    (12, 64, 256),
];

impl Network for SqueezeNet {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        let mut net = Graph::new(image_shape);
        conv_relu(&mut net, "features.0", "features.1", Conv2d::new(64, 3).stride(2));
        for (i, squeezed, expanded) in FIRE {
            if matches!(i, 3 | 6 | 9) {
                let pool = halving_pool(&net)?;
                net.then(format!("features.{}", i - 1), pool);
            }
            fire(&mut net, &format!("features.{i}"), squeezed, expanded);
        }
        dropout(&mut net, "classifier.0", self.dropout, None);
        let last = Conv2d::new(n_classes, 1).bias(Init::Zeros).init(Init::Normal(0.01));
        net.then("classifier.1", last);
        net.then("classifier.2", Relu {});
        net.then("classifier.3", GlobalAvgPool {});
        net.then("logits", Flatten {});
        checked(net)
    }

    fn usual_data(&self) -> ([usize; 3], usize) {
        ([3, 224, 224], 1000)
    }

    /// `squeezenet1.1`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        (name == self.short_name()).then_some(ModelSpec::SqueezeNet(Self::default()))
    }

    fn short_name(&self) -> String {
        "squeezenet1.1".into()
    }
}

fn conv_relu(net: &mut Graph, name: &str, relu: &str, conv: Conv2d) {
    net.then(name, conv.bias(Init::Zeros).init(INIT));
    net.then(relu, Relu {});
}

/// 3x3 windows at every second pixel; where the last one would reach over the edge by a pixel, it
/// counts as well, as by PyTorch's `ceil_mode`.
fn halving_pool(net: &Graph) -> Result<MaxPool> {
    let shapes = net.shapes()?;
    let beyond = |axis: usize| shapes.get(&net.output).get(axis).is_some_and(|n| n % 2 == 0);
    let padding = [0, 0, usize::from(beyond(1)), usize::from(beyond(2))];
    Ok(MaxPool { padding, ..MaxPool::new(3, 2, 0) })
}

/// 1x1 to few channels, then 1x1 and 3x3 beside each other.
fn fire(net: &mut Graph, name: &str, squeezed: usize, expanded: usize) {
    let at = |part: &str| format!("{name}.{part}");
    conv_relu(net, &at("squeeze"), &at("squeeze_activation"), Conv2d::new(squeezed, 1));
    let x = net.output.clone();
    conv_relu(net, &at("expand1x1"), &at("expand1x1_activation"), Conv2d::new(expanded, 1));
    let small = std::mem::replace(&mut net.output, x);
    let conv = Conv2d::new(expanded, 3).padding(1);
    conv_relu(net, &at("expand3x3"), &at("expand3x3_activation"), conv);
    let large = net.output.clone();
    net.push(name, Concat {}, &[&small, &large]);
}
