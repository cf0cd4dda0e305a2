//! The `config.json` beside exported weights, in timm's form.

use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};
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
    /// `config.json` in the folder of `weights`.
    pub fn path_beside(weights: &Path) -> PathBuf {
        weights.with_file_name("config.json")
    }

    /// Writes `config.json` into the folder of `weights` and gives its path.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save_beside(&self, weights: &Path) -> Result<PathBuf> {
        let path = Self::path_beside(weights);
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| Error::Parse {
            path: path.clone(),
            offset: 0,
            reason: e.to_string(),
        })?;
        text.push(b'\n');
        fsx::write_atomic(&path, &text)?;
        Ok(path)
    }
}
