//! Networks that other programs wrote.

use std::path::PathBuf;

use kd_core::{Error, Graph, Result};
use serde::{Deserialize, Serialize};

use crate::onnx::{ImportOptions, Imported, import};
use crate::{ModelSpec, Network, Weights};

/// The network in an ONNX file, with its weights: a student that goes on learning, a teacher, or
/// what is attacked. Its classes are those of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxFile {
    /// Path of the file.
    pub file: PathBuf,
}

impl OnnxFile {
    fn import(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Imported> {
        let imported = import(&self.file, &ImportOptions { image_shape: Some(image_shape) })?;
        let n = imported.graph.n_classes()?;
        if n != n_classes {
            let reason = format!("{} has {n} classes, the images {n_classes}", self.file.display());
            return Err(Error::config("model", reason));
        }
        Ok(imported)
    }
}

impl Network for OnnxFile {
    fn graph(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Graph> {
        Ok(self.import(image_shape, n_classes)?.graph)
    }

    fn weights(&self, image_shape: [usize; 3], n_classes: usize) -> Result<Option<Weights>> {
        Ok(Some(self.import(image_shape, n_classes)?.weights))
    }

    /// `somewhere/network.onnx`.
    fn named(&self, name: &str) -> Option<ModelSpec> {
        let is_file = name.len() > 5 && name.ends_with(".onnx");
        is_file.then(|| ModelSpec::Onnx(Self { file: name.into() }))
    }

    fn short_name(&self) -> String {
        self.file.display().to_string()
    }

    fn is_in_a_file(&self) -> bool {
        true
    }
}
