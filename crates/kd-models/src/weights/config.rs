//! The `config.json` beside exported weights, in timm's form.

use std::path::{Path, PathBuf};

use kd_core::checkpoint::Description;
use kd_core::{Result, fsx, json};
use serde::Serialize;

/// What a user of exported weights must know about the network and its images.
#[derive(Debug, Clone, Serialize)]
pub struct ExportConfig {
    /// Short name of the network.
    pub architecture: String,
    /// Number of classes, K.
    pub num_classes: usize,
    /// Names of the classes, by label; left out where they are not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_names: Vec<String>,
    /// The images.
    pub pretrained_cfg: ImageConfig,
}

/// The images that a network was trained on.
#[derive(Debug, Clone, Serialize)]
pub struct ImageConfig {
    /// `[C, H, W]`
    pub input_size: [usize; 3],
    /// Mean of each channel, for pixels in `[0, 1]`; left out where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel; left out where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f32>>,
    /// Number of classes, K.
    pub num_classes: usize,
}

impl ExportConfig {
    /// What is known of a network.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] for a graph that is none.
    pub fn of(network: &Description) -> Result<Self> {
        let num_classes = network.graph.n_classes()?;
        let normalize = network.graph.normalization();
        Ok(Self {
            architecture: network.name.clone(),
            num_classes,
            label_names: network.class_names.clone(),
            pretrained_cfg: ImageConfig {
                input_size: network.graph.image_shape,
                mean: normalize.map(|normalize| normalize.mean.clone()),
                std: normalize.map(|normalize| normalize.std.clone()),
                num_classes,
            },
        })
    }

    /// `config.json` in the folder of `weights`.
    pub fn path_beside(weights: &Path) -> PathBuf {
        weights.with_file_name("config.json")
    }

    /// Writes `config.json` into the folder of `weights` and gives its path.
    ///
    /// # Errors
    /// [`kd_core::Error::Io`].
    pub fn save_beside(&self, weights: &Path) -> Result<PathBuf> {
        let path = Self::path_beside(weights);
        let mut text = json::pretty(&path, self)?;
        text.push(b'\n');
        fsx::write_atomic(&path, &text)?;
        Ok(path)
    }
}
