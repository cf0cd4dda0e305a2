//! CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 photographs of 32x32 RGB pixels, a hundred classes in
//! twenty superclasses.
//!
//! Key decision: as of CIFAR-10, any files of the binary version's format are read, but only those
//! with the digests of the official content count as CIFAR-100. The digests are those that
//! torchvision for Ruby (`lib/torchvision/datasets/cifar100.rb`) refuses other files by.

mod names;

use std::path::Path;

use kd_core::Result;
use kd_core::ops::Normalize;
use serde::{Deserialize, Serialize};

pub use self::names::{COARSE, FINE};
use crate::cifar::records;
use crate::cifar::source::{Set, Source};
use crate::{Dataset, Images, Split, Splits};

/// Mean of each channel of the training pixels in `[0, 1]`, to four digits.
pub const MEAN: [f32; 3] = [0.5071, 0.4865, 0.4409];
/// Standard deviation of each channel of the training pixels in `[0, 1]`, to four digits.
pub const STD: [f32; 3] = [0.2673, 0.2564, 0.2762];

const SET: Set = Set {
    name: "cifar100",
    archive: "cifar-100-binary.tar.gz",
    folder: "cifar-100-binary",
    train: &[TRAIN],
    test: TEST,
};
/// Coarse and fine ones, in the order of a record.
const N_CLASSES: [usize; 2] = [COARSE.len(), FINE.len()];
const TRAIN: &str = "train.bin";
const TEST: &str = "test.bin";
/// SHA-256 of the official files, of train and test.
const SHA256: [&str; 2] = [
    "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
    "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
];

/// Which of an image's two labels is its class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// One of a hundred classes.
    #[default]
    Fine,
    /// One of twenty superclasses.
    Coarse,
}

/// `train.bin` and `test.bin` of CIFAR-100's binary version, or others of their format, in the data
/// folder itself, in `cifar-100-binary/` or in either of these below `cifar100/`; or the archive
/// `cifar-100-binary.tar.gz` in the data folder or in `cifar100/`, read as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cifar100 {
    /// The classes.
    pub labels: Labels,
}

impl Dataset for Cifar100 {
    fn load(&self, dir: Option<&Path>) -> Result<Splits> {
        let all = [TRAIN, TEST];
        let mut source = Source::find(dir, SET, (&all, &all))?;
        let (train, test) = (self.images(&mut source, TRAIN)?, self.images(&mut source, TEST)?);
        let files = train.files().iter().chain(test.files());
        let official = files.zip(SHA256).all(|(file, sha256)| file.sha256 == sha256);
        Ok(Splits { train, test, official })
    }

    fn load_split(&self, dir: Option<&Path>, split: Split) -> Result<Images> {
        let name = if split == Split::Train { TRAIN } else { TEST };
        self.images(&mut Source::find(dir, SET, (&[name], &[name]))?, name)
    }

    fn normalize(&self) -> Normalize {
        Normalize { mean: MEAN.to_vec(), std: STD.to_vec() }
    }
}

impl Cifar100 {
    fn images(&self, source: &mut Source, name: &'static str) -> Result<Images> {
        let (taken, names) = match self.labels {
            Labels::Coarse => (0, &COARSE[..]),
            Labels::Fine => (1, &FINE[..]),
        };
        let labels = records::Labels { n_classes: &N_CLASSES, taken };
        Ok(source.images(&[name], labels)?.with_class_names(names.iter().copied()))
    }
}

#[cfg(test)]
mod tests;
