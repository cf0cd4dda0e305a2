//! safetensors files: tensors in the order of their names, the same bytes for the same input.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use kd_core::checkpoint::Description;
use kd_core::{Error, Result, fsx};

use super::fit::N_BATCHES;
use super::safetensors::NETWORK;
use crate::Names;

/// Tensors by name.
type Tensors = BTreeMap<String, Tensor>;

/// Writes `tensors` under our names and nothing else, as checkpoints have them.
///
/// # Errors
/// [`Error::Io`]; `path` then keeps what it held before.
pub fn save_safetensors(path: &Path, tensors: &Tensors) -> Result<()> {
    write(path, tensors, None)
}

/// Writes `tensors` under our names with what they belong to: all that is needed to use them.
///
/// # Errors
/// As [`save_safetensors`] and [`Description::check`].
pub fn save_network(path: &Path, tensors: &Tensors, network: &Description) -> Result<()> {
    network.check()?;
    let text = serde_json::to_string(network).map_err(|e| Error::parse(path, e.to_string()))?;
    write(path, tensors, Some((NETWORK.into(), text)))
}

/// Writes what PyTorch's `load_state_dict(strict=True)` asks for: `tensors` under the given names,
/// and for every batch norm the count of batches, 0, which PyTorch's own momentum does not use.
///
/// # Errors
/// [`Error::Io`]; `path` then keeps what it held before.
pub fn save_for_pytorch(path: &Path, tensors: &Tensors, names: Names) -> Result<()> {
    let mut renamed = Tensors::new();
    for (name, tensor) in tensors {
        let name = names.export(name);
        if let Some(norm) = name.strip_suffix(".running_mean") {
            renamed.insert(format!("{norm}.{N_BATCHES}"), Tensor::new(0i64, &Device::Cpu)?);
        }
        renamed.insert(name, tensor.clone());
    }
    // One key only: their order would change from run to run.
    write(path, &renamed, Some(("format".into(), "pt".into())))
}

fn write(path: &Path, tensors: &Tensors, metadata: Option<(String, String)>) -> Result<()> {
    let metadata = metadata.map(|pair| [pair].into_iter().collect());
    let bytes =
        safetensors::serialize(tensors, metadata).map_err(|e| Error::parse(path, e.to_string()))?;
    fsx::write_atomic(path, &bytes)
}
