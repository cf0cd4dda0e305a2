//! Weights of a network, from a checkpoint folder, a safetensors file or a PyTorch checkpoint.

use std::path::{Path, PathBuf};

use candle_core::Device;
use kd_core::{Classifier, Net, Result, Stream, checkpoint, fsx};
use kd_models::ModelSpec;
use kd_models::weights::{Naming, Prefix, WeightsFile, shapes};

/// Builds `model` with the weights at `path`: a checkpoint folder, which is verified against its
/// manifest, or a file, where `module.` before all names is taken away.
pub(crate) fn load_model(
    model: &ModelSpec,
    path: &Path,
    (image_shape, n_classes): ([usize; 3], usize),
    device: &Device,
) -> Result<Net> {
    let build = || model.as_dyn().build(image_shape, n_classes, Stream::new(0), device);
    if path.is_dir() {
        let (tensors, _) = checkpoint::load::<serde_json::Value>(path, device)?;
        let network = build()?;
        network.params().load(&tensors)?;
        return Ok(network);
    }
    let file = WeightsFile::open(path)?;
    let network = build()?;
    let naming = Naming { prefix: Prefix::DataParallel, ..Naming::default() };
    let wanted = shapes(&network);
    network.params().load(&file.fit(&naming, &wanted)?.read(device)?)?;
    Ok(network)
}

/// The bytes of the tensors' file at `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let file: PathBuf = if path.is_dir() { path.join(checkpoint::TENSORS) } else { path.into() };
    fsx::read_bounded(&file, 8 << 30, "give a checkpoint folder or a file of weights")
}
