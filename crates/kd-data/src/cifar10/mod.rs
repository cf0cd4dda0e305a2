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

pub(crate) mod records;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kd_core::ops::Normalize;
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

pub use self::records::{N_CLASSES, SHAPE};

use self::records::{Gathered, MAX_BYTES};
use crate::archive::{self, Wanted};
use crate::{Dataset, Images, Split, Splits};

/// Mean of each channel of the training pixels in `[0, 1]`, to four digits.
pub const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
/// Standard deviation of each channel of the training pixels in `[0, 1]`, to four digits.
pub const STD: [f32; 3] = [0.2470, 0.2435, 0.2616];
/// Names of the classes, by label.
pub const CLASS_NAMES: [&str; N_CLASSES] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The archive as it is published.
const ARCHIVE: &str = "cifar-10-binary.tar.gz";
/// The most that it may have when it is decompressed: more than six of the largest files.
const MAX_TOTAL: u64 = 6 * MAX_BYTES + (1 << 20);
/// The folder in it.
const FOLDER: &str = "cifar-10-batches-bin";
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
        let mut source = Source::find(dir, &all, &all)?;
        let (train, test) = (source.images(&TRAIN)?, source.images(&[TEST])?);
        let files = train.files().iter().chain(test.files());
        let official = files.zip(SHA256).all(|(file, sha256)| file.sha256 == sha256);
        Ok(Splits { train, test, official })
    }

    fn load_split(&self, dir: Option<&Path>, split: Split) -> Result<Images> {
        match split {
            Split::Train => {
                let mut source = Source::find(dir, &TRAIN[..1], &TRAIN)?;
                source.images(&source.consecutive()?)
            }
            Split::Test => Source::find(dir, &[TEST], &[TEST])?.images(&[TEST]),
        }
    }

    fn normalize(&self) -> Normalize {
        Normalize { mean: MEAN.to_vec(), std: STD.to_vec() }
    }

    fn is_synthetic(&self) -> bool {
        false
    }
}

/// Where all files come from: never a mixture of two sets.
#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    Archive { path: PathBuf, contents: BTreeMap<&'static str, Vec<u8>> },
}

impl Source {
    /// The first folder that has the `needed` files, or the first archive, with `all` of them.
    fn find(dir: Option<&Path>, needed: &[&str], all: &[&'static str]) -> Result<Self> {
        let dir = dir.ok_or_else(|| Error::Missing {
            path: "cifar10".into(),
            hint: "name the data folder with --data-dir or KD_DATA_DIR".into(),
        })?;
        let places = [dir.to_owned(), dir.join("cifar10")];
        let folders = || places.iter().flat_map(|place| [place.clone(), place.join(FOLDER)]);
        let has = |folder: &Path, name: &&str| folder.join(name).is_file();
        if let Some(folder) = folders().find(|f| needed.iter().all(|name| has(f, name))) {
            return Ok(Self::Folder(folder));
        }
        if let Some(path) = places.iter().map(|p| p.join(ARCHIVE)).find(|path| path.is_file()) {
            let wanted =
                Wanted { folder: FOLDER, names: all, max_file: MAX_BYTES, max_total: MAX_TOTAL };
            let contents = archive::read(&path, &wanted)?;
            return Ok(Self::Archive { path, contents });
        }
        // A folder that has some of the files is the one that was meant.
        let begun = folders().find(|f| all.iter().chain(&[TEST, TRAIN[0]]).any(|n| has(f, n)));
        let folder = begun.unwrap_or_else(|| dir.join("cifar10"));
        let missing: Vec<_> = needed.iter().copied().filter(|name| !has(&folder, name)).collect();
        let hint = format!(
            "needed in one folder: {}; or the archive {ARCHIVE}, which `cargo xtask data cifar10` \
             gets",
            missing.join(", ")
        );
        Err(Error::Missing { path: folder.join(missing[0]), hint })
    }

    /// The training files that are there; an archive has all.
    fn consecutive(&self) -> Result<Vec<&'static str>> {
        let Self::Folder(folder) = self else { return Ok(TRAIN.to_vec()) };
        let there: Vec<bool> = TRAIN.iter().map(|name| folder.join(name).is_file()).collect();
        let n = there.iter().take_while(|is_there| **is_there).count();
        if there[n..].contains(&true) {
            let hint = "files that come after it are there: a download or copy that broke off?";
            return Err(Error::Missing { path: folder.join(TRAIN[n]), hint: hint.into() });
        }
        Ok(TRAIN[..n].to_vec())
    }

    /// The images of the files called `names`, in this order.
    fn images(&mut self, names: &[&'static str]) -> Result<Images> {
        let mut gathered = Gathered::default();
        for name in names {
            match self {
                Self::Folder(folder) => gathered.read(&folder.join(name))?,
                Self::Archive { path, contents } => {
                    let content = contents.remove(name).unwrap_or_default();
                    gathered.add(&path.join(name), &content)?;
                }
            }
        }
        Ok(gathered.into_images()?.with_class_names(CLASS_NAMES))
    }
}

#[cfg(test)]
mod tests;
