#![doc = include_str!("../README.md")]

mod cifar_resnet;
mod cut;
mod efficientnet_lite;
mod layers;
mod mlp;
mod mobilenet_v2;
mod names;
pub mod onnx;
mod onnx_file;
mod papernot;
pub mod quantize;
mod resnet;
mod shrink;
mod shufflenet_cifar;
mod shufflenet_v2;
mod squeezenet;
mod vgg;
pub mod weights;
mod wide_resnet;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::{Graph, Net, Result, Stream, registry};

pub use cifar_resnet::{CifarResNet, CifarResNetX4, ShortcutOption};
pub use cut::{CutPoint, cut, cut_points, cut_within, head, inherit, take_over, with_classes};
pub use efficientnet_lite::EfficientNetLite;
pub use mlp::Mlp;
pub use mobilenet_v2::{CifarMobileNetV2, MobileNetV2};
pub use names::Names;
pub use onnx_file::OnnxFile;
pub use papernot::{Papernot, PapernotVariant};
pub use resnet::{ResNet, Stem};
pub use shrink::shrink;
pub use shufflenet_cifar::{CifarShuffleNetV1, CifarShuffleNetV2};
pub use shufflenet_v2::ShuffleNetV2;
pub use squeezenet::SqueezeNet;
pub use vgg::Vgg;
pub use wide_resnet::WideResNet;

/// Tensors by name.
pub type Weights = BTreeMap<String, Tensor>;

/// A family of networks: settings that describe one for a data set's shape.
pub trait Network {
    /// The network for images of `image_shape` `[C, H, W]` and `n_classes` classes.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] for settings that describe no network, or for images that are
    /// too small for it.
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph>;

    /// The network with initial values from `stream`, or with the weights that come with it.
    ///
    /// # Errors
    /// Those of [`Network::graph`]; when candle cannot allocate.
    fn build(
        &self,
        image_shape: [usize; 3],
        n_classes: usize,
        stream: Stream,
        device: &Device,
    ) -> Result<Net> {
        let graph = self.graph(image_shape, n_classes)?;
        match self.weights(image_shape, n_classes)? {
            Some(weights) => Net::with_weights(graph, &weights, device),
            None => Net::new(graph, stream, device),
        }
    }

    /// Weights that come with the network.
    ///
    /// # Errors
    /// Those of [`Network::graph`].
    fn weights(&self, _image_shape: [usize; 3], _n_classes: usize) -> Result<Option<Weights>> {
        Ok(None)
    }

    /// `[C, H, W]` of the images and the number of classes that its source has it for: CIFAR-10's,
    /// unless the family says otherwise.
    fn usual_data(&self) -> ([usize; 3], usize) {
        ([3, 32, 32], 10)
    }

    /// The network of this family that `name` stands for; `self` only says which family.
    fn named(&self, name: &str) -> Option<ModelSpec>;

    /// The short name, from which [`Network::named`] makes this network again, but for its
    /// dropout.
    fn short_name(&self) -> String;

    /// Whether the network and its weights are in a file, without which there is none.
    fn is_in_a_file(&self) -> bool {
        false
    }
}

registry! {
    /// A network, chosen by `kind` in a suite file.
    pub enum ModelSpec: dyn Network {
        "mlp" => Mlp(mlp::Mlp),
        "resnet" => ResNet(resnet::ResNet),
        "cifar-resnet" => CifarResNet(cifar_resnet::CifarResNet),
        "cifar-resnet-x4" => CifarResNetX4(cifar_resnet::CifarResNetX4),
        "wide-resnet" => WideResNet(wide_resnet::WideResNet),
        "vgg" => Vgg(vgg::Vgg),
        "mobilenet-v2" => MobileNetV2(mobilenet_v2::MobileNetV2),
        "cifar-mobilenet-v2" => CifarMobileNetV2(mobilenet_v2::CifarMobileNetV2),
        "shufflenet-v2" => ShuffleNetV2(shufflenet_v2::ShuffleNetV2),
        "cifar-shufflenet-v1" => CifarShuffleNetV1(shufflenet_cifar::CifarShuffleNetV1),
        "cifar-shufflenet-v2" => CifarShuffleNetV2(shufflenet_cifar::CifarShuffleNetV2),
        "efficientnet-lite" => EfficientNetLite(efficientnet_lite::EfficientNetLite),
        "squeezenet" => SqueezeNet(squeezenet::SqueezeNet),
        "papernot" => Papernot(papernot::Papernot),
        "onnx" => Onnx(onnx_file::OnnxFile),
    }
}

impl ModelSpec {
    /// A network by its short name: `mlp-1200-1200` (the sizes of the hidden layers), `resnet18`,
    /// `resnet18-cifar`, `resnet20`, `resnet20-b`, `resnet8x4`, `wrn-16-2`, `vgg8`, `mobilenet-v2`,
    /// `mobilenet-v2-w0.5`, `mobilenet-v2-cifar-w0.5`, `shufflenet-v2-x1.0`, `shufflenet-v1-cifar`,
    /// `shufflenet-v2-cifar`, `efficientnet-lite0`, `squeezenet1.1`, `papernot-mnist`,
    /// `papernot-cifar10`; or `PATH.onnx`, a file.
    ///
    /// ResNets of 18, 34, 50, 101 and 152 layers are [`ResNet`]s, with the stem for large images
    /// unless the name ends in `-cifar`; those of 8, 14, 20, 32, 44, 56 and 110 are
    /// [`CifarResNet`]s, with option-A shortcuts unless the name ends in `-b`.
    pub fn from_name(name: &str) -> Option<Self> {
        let spec = Self::all().iter().find_map(|family| family.as_dyn().named(name))?;
        // One network, one name: no leading zeros, no default spelt out.
        (spec.short_name() == name).then_some(spec)
    }

    /// The short name of this network, from which [`ModelSpec::from_name`] makes it again, but
    /// for its dropout.
    pub fn short_name(&self) -> String {
        self.as_dyn().short_name()
    }
}

#[cfg(test)]
mod f64_tests;
#[cfg(test)]
mod tests;
