//! Data sets of IDX files with any number of classes, such as EMNIST's letters or Fashion-MNIST.
//!
//! Key decision: files are told by their names as people have them: `train-images-idx3-ubyte`, with a
//! dot before `idx3`, with something before `train`, as `.gz`, each in a folder of its own. Where a
//! folder has several sets, none is guessed.

mod found;
mod numbering;

use std::path::{Path, PathBuf};

use kd_core::ops::Normalize;
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use self::found::{Found, Pair};
use self::numbering::Numbering;
use crate::{Dataset, Images, Part, Split, Splits, mnist};

/// Gray images and their labels in IDX files, raw or gzip, of any size and number of classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdxFiles {
    /// Their folder, or of several sets in one folder what the names of one begin with, such as
    /// `EMNIST/raw/emnist-letters`; a relative path begins at the data folder.
    pub path: PathBuf,
    /// The label of class 0; without a value 1 where no label is 0, as of EMNIST's letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_label: Option<u8>,
    /// Number of classes; without a value up to the largest label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_classes: Option<usize>,
    /// Mean that networks normalize the images by, for pixels in `[0, 1]`; the default is MNIST's.
    pub mean: f32,
    /// Standard deviation; the default is MNIST's as well.
    pub std: f32,
}

impl Default for IdxFiles {
    fn default() -> Self {
        let (mean, std) = (mnist::MEAN, mnist::STD);
        Self { path: PathBuf::new(), first_label: None, n_classes: None, mean, std }
    }
}

impl Dataset for IdxFiles {
    fn load(&self, dir: Option<&Path>) -> Result<Splits> {
        let found = self.find(dir)?;
        let (Some(train), Some(test)) = (&found.train, &found.test) else {
            return Err(found.missing_part());
        };
        let numbering = self.numbering(&found)?;
        Splits::own(numbering.images(train)?, numbering.images(test)?)
    }

    fn load_split(&self, dir: Option<&Path>, split: Split) -> Result<Images> {
        let found = self.find(dir)?;
        let pair = match split {
            Split::Train => &found.train,
            Split::Test => &found.test,
        };
        match pair {
            Some(pair) => self.numbering(&found)?.images(pair),
            None => Err(found.missing_part()),
        }
    }

    fn whole(&self, dir: Option<&Path>) -> Result<Option<Part>> {
        let found = self.find(dir)?;
        let ((Some(only), None) | (None, Some(only))) = (&found.train, &found.test) else {
            return Ok(None);
        };
        Ok(Some(self.numbering(&found)?.images(only)?.into()))
    }

    fn normalize(&self) -> Normalize {
        Normalize { mean: vec![self.mean], std: vec![self.std] }
    }
}

impl IdxFiles {
    fn find(&self, dir: Option<&Path>) -> Result<Found> {
        if self.path.as_os_str().is_empty() {
            return Err(Error::config("data.path", "must name the folder of the IDX files"));
        }
        Found::at(&dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path)))
    }

    fn numbering(&self, found: &Found) -> Result<Numbering> {
        let pairs: Vec<&Pair> = [&found.train, &found.test].into_iter().flatten().collect();
        let chosen = (self.first_label, self.n_classes);
        Numbering::of(&pairs, chosen, found.mapping.as_deref())
    }
}

#[cfg(test)]
mod tests;
