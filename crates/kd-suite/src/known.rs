//! What a file of weights says of the images that its network takes.

use std::path::Path;

use candle_core::Device;
use kd_core::{Graph, checkpoint};
use kd_models::onnx::{ImportOptions, import};
use kd_models::weights::WeightsFile;

/// `[C, H, W]` of the images of the network at `path`, where it is known; what is wrong with the
/// file is found when it is loaded.
pub fn image_shape(path: &Path) -> Option<[usize; 3]> {
    graph(path).map(|graph| graph.image_shape)
}

fn graph(path: &Path) -> Option<Graph> {
    if path.extension().is_some_and(|extension| extension == "onnx") {
        return import(path, &ImportOptions { image_shape: None }).ok().map(|found| found.graph);
    }
    if path.is_dir() {
        return checkpoint::load_network(path, &Device::Cpu).ok()?.1.map(|known| known.graph);
    }
    WeightsFile::open(path).ok()?.network().map(|known| known.graph.clone())
}
