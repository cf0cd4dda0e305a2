//! Networks written to files.

use std::path::{Path, PathBuf};

use candle_core::Tensor;
use kd_core::checkpoint::Description;
use kd_core::{Classifier, Result};
use kd_models::Names;
use kd_models::onnx::{self, ExportInfo};
use kd_models::quantize::Quantized;
use kd_models::weights::{ExportConfig, save_for_pytorch, save_network, save_safetensors};

use super::Loaded;

impl Loaded {
    /// Writes the weights to `path`, and what network they are of where its normalization is known. Says
    /// what it wrote, and on stderr what it could not.
    ///
    /// # Errors
    /// Those of [`save_network`].
    pub fn save(&self, path: &Path) -> Result<String> {
        let (tensors, to) = (self.network.params().tensors(), path.display());
        if self.network.graph().normalization().is_some() {
            save_network(path, &tensors, &self.description())?;
        } else {
            eprintln!(
                "{to}: will not say what network it holds, nor what its classes are called, as it is not \
                 known how that normalizes images: no --mean and --std",
            );
            save_safetensors(path, &tensors)?;
        }
        let n_numbers: usize = tensors.values().map(Tensor::elem_count).sum();
        Ok(format!("{to}: {} tensors, {n_numbers} numbers", tensors.len()))
    }

    /// Writes the weights to `path` as PyTorch reads them, under such names, and beside them `config.json`,
    /// of which it gives the path. Says on stderr what is not known.
    ///
    /// # Errors
    /// [`kd_core::Error::Io`].
    pub fn save_for_pytorch(&self, path: &Path, names: Names) -> Result<PathBuf> {
        if self.network.graph().normalization().is_none() {
            eprintln!("the file will not say how images are normalized: no --mean and --std");
        }
        save_for_pytorch(path, &self.network.params().tensors(), names)?;
        ExportConfig::of(&self.description())?.save_beside(path)
    }

    /// Writes the network to `path` as ONNX, in place of it what it was quantized to, with a softmax at such
    /// a temperature behind it.
    ///
    /// # Errors
    /// Those of [`onnx::save`].
    pub fn save_onnx(
        &self,
        path: &Path,
        softmax_temperature: Option<f32>,
        quantized: Option<&Quantized>,
    ) -> Result<()> {
        let info = ExportInfo { softmax_temperature, ..ExportInfo::of(&self.description()) };
        match quantized {
            Some(quantized) => onnx::save_quantized(path, quantized, &info),
            None => onnx::save(path, self.network.graph(), &self.network.params().tensors(), &info),
        }
    }

    /// All that is known of it, to be written with its weights.
    pub fn description(&self) -> Description {
        Description {
            class_names: self.class_names.clone(),
            resize: self.resize,
            temperature: self.temperature,
            ..Description::new(&*self.name, self.network.graph().clone())
        }
    }
}
