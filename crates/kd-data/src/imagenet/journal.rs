//! What was begun: kept in the folder that is worked in, and in the finished one.
//!
//! Key decision: the journal moves with the folder, so that a finished folder always has its own
//! journal, and `--undo` works as long as the folder exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::labels::Wnid;
use super::mode::Mode;

/// Name of the journal; hidden, so that nobody takes it for a class.
pub(super) const JOURNAL: &str = ".kd-imagenet.json";
/// The most bytes that one may have; ImageNet's have less than a million.
const MAX_BYTES: u64 = 64 << 20;

/// The plan of a reorganization of the validation set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) mode: Mode,
    /// The flat folder or archive, absolute.
    pub(super) images: PathBuf,
    /// Bytes of the archive, if it is one.
    pub(super) archive_bytes: Option<u64>,
    /// Where the labels came from, in words.
    pub(super) labels: String,
    /// The class of image 1, 2, ...
    wnids: Vec<String>,
}

impl Journal {
    pub(super) fn new(
        mode: Mode,
        images: PathBuf,
        archive_bytes: Option<u64>,
        labels: String,
        wnids: &BTreeMap<u32, Wnid>,
    ) -> Self {
        let wnids = wnids.values().map(ToString::to_string).collect();
        Self { mode, images, archive_bytes, labels, wnids }
    }

    /// The journal in `folder`, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] when it is damaged.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let journal: Option<Self> = read(folder)?;
        journal.as_ref().map(|journal| journal.wnids(folder)).transpose()?;
        Ok(journal)
    }

    /// The class of each image, by its number.
    ///
    /// # Errors
    /// [`Error::Parse`] for what is no WordNet id.
    pub(super) fn wnids(&self, folder: &Path) -> Result<BTreeMap<u32, Wnid>> {
        let parse = |(number, wnid): (u32, &String)| Some((number, Wnid::parse(wnid)?));
        let wnids: Option<_> = (1..).zip(&self.wnids).map(parse).collect();
        wnids.ok_or_else(|| Error::parse(folder.join(JOURNAL), "has what is no WordNet id"))
    }

    /// Whether it is about the same images and classes, done in the same way.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        (self.mode, &self.images, &self.wnids) == (other.mode, &other.images, &other.wnids)
    }

    /// Number of different classes.
    pub(super) fn n_classes(&self) -> usize {
        self.wnids.iter().collect::<BTreeSet<_>>().len()
    }
}

/// The journal in `folder`, if there is one.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] when it is damaged.
pub(super) fn read<T: DeserializeOwned>(folder: &Path) -> Result<Option<T>> {
    let path = folder.join(JOURNAL);
    let bytes = fsx::read_if_there(&path, MAX_BYTES)?;
    bytes.map(|bytes| json::parse(&path, &bytes)).transpose()
}

/// Writes `journal` into `folder`, whole or not at all.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write(journal: &impl Serialize, folder: &Path) -> Result<()> {
    let path = folder.join(JOURNAL);
    fsx::write_atomic(&path, &json::line(&path, journal)?)
}
