//! Networks by name: each is a plain serde configuration that builds a [`Classifier`].
//!
//! Key decision: parameter names are PyTorch's, so that weights travel both ways without a map.
//! What it deliberately does not do: no training, no files.

mod mlp;

use candle_core::Device;
use kd_core::{Classifier, Result, Stream, registry};

pub use mlp::{Mlp, MlpNetwork};

/// A family of networks: a configuration that can be built for a data set's shape.
pub trait Network {
    /// Builds the network for images of `image_shape` `[C, H, W]` and `n_classes` classes, with
    /// initial values from `stream`.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] for settings that describe no network.
    fn build(
        &self,
        image_shape: [usize; 3],
        n_classes: usize,
        stream: Stream,
        device: &Device,
    ) -> Result<Box<dyn Classifier>>;
}

registry! {
    /// A network, chosen by `kind` in a suite file.
    pub enum ModelSpec: dyn Network {
        "mlp" => Mlp(mlp::Mlp),
    }
}

impl ModelSpec {
    /// A network by its short name: `mlp-1200-1200`, with the sizes of the hidden layers.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let kind = parts.next()?;
        let hidden = parts.map(|n| n.parse().ok()).collect::<Option<Vec<usize>>>()?;
        (kind == "mlp" && !hidden.is_empty()).then(|| Self::Mlp(Mlp { hidden, ..Mlp::default() }))
    }

    /// The short name of this network, from which [`ModelSpec::from_name`] makes it again, but
    /// for its dropout.
    pub fn short_name(&self) -> String {
        match self {
            Self::Mlp(mlp) => mlp.hidden.iter().fold("mlp".into(), |name, n| format!("{name}-{n}")),
        }
    }
}
