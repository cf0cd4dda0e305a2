//! Weights from elsewhere and to elsewhere.
//!
//! In: safetensors and PyTorch checkpoints (zip, deflated or not, and the format before PyTorch 1.6),
//! which are read as data and never executed: what else lies in them is listed and passed over. Key
//! decision: a file is opened in two steps. Its names, types and shapes come first, bounded by small
//! constants whatever the file says; numbers are read only for tensors that a network asks for, after
//! names and shapes were found to fit. So a hostile file costs little memory, and a large one no more
//! than its network.
//! Out: safetensors under PyTorch's names.
//!
//! What it deliberately does not do: no unpickling of anything but tensors, dictionaries, lists,
//! numbers and text; no sparse, quantized, 8-bit or complex numbers.

mod archive;
mod checked;
mod classes;
mod config;
mod dtype;
mod fit;
pub(crate) mod foreign;
mod naming;
mod object;
mod pickle;
mod safetensors;
mod save;
mod source;
mod stored;
mod torch;
mod tree;
mod zip;

use std::collections::BTreeMap;
use std::path::Path;

use kd_core::checkpoint::Description;
use kd_core::{Classifier, Error, Result};

pub use config::{ExportConfig, ImageConfig};
pub use dtype::Dtype;
pub use fit::{Entry, Fate, Fit};
pub use naming::Naming;
pub use save::{save_for_pytorch, save_network, save_safetensors};
pub use stored::Stored;

pub(crate) use source::Source;
use tree::Node;

/// Names and shapes of a network's parameters and buffers.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// The names and shapes that `network` asks for.
pub fn shapes(network: &dyn Classifier) -> Shapes {
    let tensors = network.params().tensors().into_iter();
    tensors.map(|(name, tensor)| (name, tensor.dims().to_vec())).collect()
}

/// A file of weights: safetensors, or a PyTorch checkpoint of either format.
#[derive(Debug)]
pub struct WeightsFile {
    source: Source,
    tree: Node,
    network: Option<Description>,
}

impl WeightsFile {
    /// Opens `path` and reads what it holds, but no numbers. Checksums are verified: those of a
    /// zip archive, and for other PyTorch files the one in a name such as
    /// `resnet20-12fca82f.th`, as `torch.hub` writes it.
    ///
    /// # Errors
    /// [`kd_core::Error::Missing`], [`kd_core::Error::Io`]; [`kd_core::Error::Parse`] for
    /// a file that is damaged, hostile or of another format.
    pub fn open(path: &Path) -> Result<Self> {
        let source = Source::open(path)?;
        let start = source.read(0, source.len().min(foreign::START))?;
        if let Some(what) = foreign::what(&start) {
            return Err(source.fault(0, what));
        }
        if zip::recognizes(&start) {
            let (source, tree) = torch::read_zip(source)?;
            return Ok(Self { source, tree, network: None });
        }
        let (tree, network) = if torch::recognizes_legacy(&start) {
            source.verify_name()?;
            (torch::read_legacy(&source)?, None)
        } else if safetensors::recognizes(&start) {
            safetensors::read(&source)?
        } else {
            let reason = "neither safetensors nor a PyTorch checkpoint; a network in ONNX's format is \
                          read under a name that ends in .onnx";
            return Err(source.fault(0, reason));
        };
        Ok(Self { source, tree, network })
    }

    /// What network the weights are of, where the file says so: those that [`save_network`] wrote.
    pub fn network(&self) -> Option<&Description> {
        self.network.as_ref()
    }

    /// Everything in the file: its path (names joined by dots) and what it is, such as
    /// `f32 [16, 3, 3, 3]`.
    pub fn list(&self) -> Vec<(String, String)> {
        let mut nodes = Vec::new();
        self.tree.list("", &mut nodes);
        nodes.into_iter().map(|(path, node)| (path, node.kind())).collect()
    }

    /// What the file calls its `n` classes, in their order; none where it does not say that.
    pub fn class_names(&self, n: usize) -> Vec<String> {
        let mut nodes = Vec::new();
        self.tree.list("", &mut nodes);
        let names = nodes.into_iter().find_map(|(_, node)| match node {
            Node::Classes(names) if names.len() == n => Some(names.clone()),
            _ => None,
        });
        names.unwrap_or_default()
    }

    /// What becomes of each tensor when a network with these parameters loads the file.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] when the dictionary of the weights is not where it should be,
    /// [`kd_core::Error::Parse`] when there is none.
    pub fn fit<'a>(&'a self, naming: &Naming, wanted: &'a Shapes) -> Result<Fit<'a>> {
        let key = naming.key.as_deref();
        let places = self.tree.candidates(key).map_err(|e| self.place(e, key.is_none()))?;
        Ok(Fit::new(&self.source, &places, naming, wanted))
    }

    /// `error` with the name of the file, which is at fault where nobody asked for anything in it.
    fn place(&self, error: Error, is_without_key: bool) -> Error {
        match error {
            Error::Config { reason, .. } if is_without_key => self.source.fault(0, reason),
            Error::Config { field, reason } => Error::Config {
                field,
                reason: format!("{}: {reason}", self.source.path().display()),
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod checkpoint_tests;
#[cfg(test)]
mod tests;
