//! Weights of a network, from a checkpoint folder or a safetensors file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use kd_core::{Classifier, Result, Stream, checkpoint, fsx};
use kd_models::ModelSpec;

/// Builds `model` with the weights at `path`.
pub(crate) fn load_model(
    model: &ModelSpec,
    path: &Path,
    (image_shape, n_classes): ([usize; 3], usize),
    device: &Device,
) -> Result<Box<dyn Classifier>> {
    let network = model.as_dyn().build(image_shape, n_classes, Stream::new(0), device)?;
    network.params().load(&load(path, device)?)?;
    Ok(network)
}

/// The tensors at `path`; a checkpoint folder is verified against its manifest.
fn load(path: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    if path.is_dir() {
        return Ok(checkpoint::load::<serde_json::Value>(path, device)?.0);
    }
    checkpoint::load_tensors(path, device)
}

/// The bytes of the tensors' file at `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let file: PathBuf = if path.is_dir() { path.join(checkpoint::TENSORS) } else { path.into() };
    fsx::read_bounded(&file, 8 << 30, "give a checkpoint folder or a safetensors file")
}
