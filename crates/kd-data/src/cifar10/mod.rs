//! CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 photographs of 32x32 RGB pixels, ten classes.
//!
//! Key decision: any files of the binary version's format are read, but only those with the
//! digests of the official content count as CIFAR-10 ([`Splits::official`]), so that results on
//! other data, such as images that went through JPEG, are never set against numbers published
//! for CIFAR-10.
//!
//! The digests are those that torchvision for Ruby (`lib/torchvision/datasets/cifar10.rb`)
//! refuses other files by. Should one of them be wrong, official files would not count; others
//! never do.

use std::path::Path;

use kd_core::Result;
use kd_core::ops::Normalize;
use serde::{Deserialize, Serialize};

pub use crate::cifar::records::SHAPE;

use crate::cifar::records::Labels;
use crate::cifar::source::{Set, Source};
use crate::{Dataset, Images, Split, Splits};

/// Number of classes.
pub const N_CLASSES: usize = 10;
/// Mean of each channel of the training pixels in `[0, 1]`, to four digits.
pub const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
/// Standard deviation of each channel of the training pixels in `[0, 1]`, to four digits.
pub const STD: [f32; 3] = [0.2470, 0.2435, 0.2616];
/// Names of the classes, by label.
pub const CLASS_NAMES: [&str; N_CLASSES] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Its files, and what stands before the pixels of a record.
pub(crate) const LABELS: Labels = Labels { n_classes: &[N_CLASSES], taken: 0 };
const SET: Set = Set {
    name: "cifar10",
    archive: "cifar-10-binary.tar.gz",
    folder: "cifar-10-batches-bin",
    train: &TRAIN,
    test: TEST,
};
/// Files of the training set, in order.
pub(crate) const TRAIN: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];
/// File of the test set.
pub(crate) const TEST: &str = "test_batch.bin";

/// SHA-256 of the official files, those of [`TRAIN`], then [`TEST`].
const SHA256: [&str; 6] = [
    "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
];

/// The six files of CIFAR-10's binary version, or others of their format, in the data folder
/// itself, in `cifar-10-batches-bin/` or in either of these below `cifar10/`; or the archive
/// `cifar-10-binary.tar.gz` in the data folder or in `cifar10/`, read as it is.
///
/// One part may be loaded where the other is missing; the training part of a folder is then
/// `data_batch_1.bin` and those that follow it without a gap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cifar10 {}

impl Dataset for Cifar10 {
    fn load(&self, dir: Option<&Path>) -> Result<Splits> {
        let all = [&TRAIN[..], &[TEST]].concat();
        let mut source = Source::find(dir, SET, (&all, &all))?;
        let [train, test] = [&TRAIN[..], &[TEST]].map(|names| source.images(names, LABELS));
        let [train, test] = [train?, test?].map(|part| part.with_class_names(CLASS_NAMES));
        let files = train.files().iter().chain(test.files());
        let official = files.zip(SHA256).all(|(file, sha256)| file.sha256 == sha256);
        Ok(Splits { train, test, official })
    }

    fn load_split(&self, dir: Option<&Path>, split: Split) -> Result<Images> {
        let images = match split {
            Split::Train => {
                let mut source = Source::find(dir, SET, (&TRAIN[..1], &TRAIN))?;
                source.images(&source.consecutive(&TRAIN)?, LABELS)
            }
            Split::Test => Source::find(dir, SET, (&[TEST], &[TEST]))?.images(&[TEST], LABELS),
        };
        Ok(images?.with_class_names(CLASS_NAMES))
    }

    fn normalize(&self) -> Normalize {
        Normalize { mean: MEAN.to_vec(), std: STD.to_vec() }
    }
}

#[cfg(test)]
mod tests;
