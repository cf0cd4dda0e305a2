//! What was done, file by file: kept beside the parts, for going on and for taking back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use kd_core::{Error, Result, fsx, json};
use serde::{Deserialize, Serialize};

use super::side::Side;
use crate::imagenet::Mode;

/// Name of the journal; hidden, so that nobody takes it for a class.
pub(super) const JOURNAL: &str = ".kd-split.json";
/// The most bytes that one may have: 150 for each of the most images.
const MAX_BYTES: u64 = 1 << 30;

/// How a folder was divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// The folder that was divided, absolute.
    pub(super) images: PathBuf,
    pub(super) mode: Mode,
    pub(super) seed: u64,
    pub(super) val: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) test: Option<f64>,
    pub(super) files: Vec<File>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// `CLASS/FILE`, from the folder that was divided and from that of its side.
    pub(super) name: String,
    pub(super) side: Side,
    pub(super) sha256: String,
}

impl File {
    /// Its class.
    pub(super) fn class(&self) -> &str {
        self.name.split_once('/').map_or("", |(class, _)| class)
    }

    /// Where it belongs.
    pub(super) fn place(&self, out: &Path) -> PathBuf {
        out.join(self.side.name()).join(&self.name)
    }

    /// Whether there is a file of its name in its place.
    pub(super) fn is_placed(&self, out: &Path) -> bool {
        self.place(out).symlink_metadata().is_ok()
    }
}

impl Journal {
    /// The journal in `out`, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] when it is damaged.
    pub(super) fn read(out: &Path) -> Result<Option<Self>> {
        let path = out.join(JOURNAL);
        let Some(bytes) = fsx::read_if_there(&path, MAX_BYTES)? else { return Ok(None) };
        let journal: Self = json::parse(&path, &bytes)?;
        let leads_out = |file: &&File| {
            let mut parts = Path::new(&file.name).components();
            file.name.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_)))
        };
        match journal.files.iter().find(leads_out) {
            Some(file) => {
                let reason = format!("has the name {:?}, which leads elsewhere", file.name);
                Err(Error::parse(path, reason))
            }
            None => Ok(Some(journal)),
        }
    }

    /// Writes it into `out`, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&self, out: &Path) -> Result<()> {
        let path = out.join(JOURNAL);
        fsx::write_atomic(&path, &json::line(&path, self)?)
    }

    /// Whether the image in its place is the very file that was divided.
    pub(super) fn is_linked(&self, file: &File, out: &Path) -> bool {
        is_same(&self.images.join(&file.name), &file.place(out))
    }
}

/// Whether two names are of one file.
pub(super) fn is_same(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    place(a).is_some_and(|found| Some(found) == place(b))
}
