//! Networks by name: each is a plain serde configuration that builds a [`Classifier`].
//!
//! Key decision: parameter names are those of the PyTorch code whose weights are published, so
//! that weights travel both ways without a map. Images are `(N, C, H, W)`; the features of
//! convolutional stages are `(N, H, W, C)`, the layout of kd-core's operations, and those after
//! pooling `(N, C)`.
//! What it deliberately does not do: no training.

mod cifar_resnet;
mod mlp;
mod names;
mod papernot;
mod residual;
mod resnet;
mod staged;
mod vgg;
pub mod weights;
mod wide_resnet;

use candle_core::Device;
use kd_core::{Classifier, Result, Stream, registry};

pub use cifar_resnet::{CifarResNet, ShortcutOption};
pub use mlp::{Mlp, MlpNetwork};
pub use names::Names;
pub use papernot::{Papernot, PapernotVariant};
pub use resnet::{ResNet, Stem};
pub use vgg::Vgg;
pub use wide_resnet::WideResNet;

/// A family of networks: a configuration that can be built for a data set's shape.
pub trait Network {
    /// Builds the network for images of `image_shape` `[C, H, W]` and `n_classes` classes, with
    /// initial values from `stream`.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] for settings that describe no network, or for images that are
    /// too small for it.
    fn build(
        &self,
        image_shape: [usize; 3],
        n_classes: usize,
        stream: Stream,
        device: &Device,
    ) -> Result<Box<dyn Classifier>>;

    /// The network of this family that `name` stands for; `self` only says which family.
    fn named(&self, name: &str) -> Option<ModelSpec>;

    /// The short name, from which [`Network::named`] makes this network again, but for its
    /// dropout.
    fn short_name(&self) -> String;
}

registry! {
    /// A network, chosen by `kind` in a suite file.
    pub enum ModelSpec: dyn Network {
        "mlp" => Mlp(mlp::Mlp),
        "resnet" => ResNet(resnet::ResNet),
        "cifar-resnet" => CifarResNet(cifar_resnet::CifarResNet),
        "wide-resnet" => WideResNet(wide_resnet::WideResNet),
        "vgg" => Vgg(vgg::Vgg),
        "papernot" => Papernot(papernot::Papernot),
    }
}

impl ModelSpec {
    /// A network by its short name: `mlp-1200-1200` (the sizes of the hidden layers), `resnet18`,
    /// `resnet18-cifar`, `resnet20`, `resnet20-b`, `wrn-16-2`, `vgg8`, `papernot-mnist`,
    /// `papernot-cifar10`.
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
mod tests;
