//! What a pack says of itself.

use std::path::Path;

use kd_core::record::DataFile;
use kd_core::{Error, Result, fsx, json};
use serde::{Deserialize, Serialize};

use super::PackSettings;
use crate::photos::OnBadImage;

/// Name of the index within the folder.
pub(crate) const INDEX: &str = "index.jsonl";

const FORMAT: &str = "kd-pack";
const VERSION: u32 = 1;
/// The most bytes of an index: 16 million images.
const MAX_INDEX: u64 = 1 << 30;
/// The most bytes of a shard, so that places within it fit any machine.
const MAX_SHARD: u64 = u32::MAX as u64;

/// The first line of an index.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    /// Of the second line, without its end.
    sha256: String,
}

/// What a pack is made of, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) settings: PackSettings,
    pub(super) on_bad_image: OnBadImage,
    /// Identity of the photographs: names and sizes, or contents where they have checksums.
    pub(super) source: DataFile,
}

/// One shard, by the order of shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shard {
    pub(super) bytes: u64,
    pub(super) n_images: usize,
    pub(super) sha256: String,
}

/// One entry for each image.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entries {
    /// `CLASS/FILE`.
    pub(super) names: Vec<String>,
    pub(super) labels: Vec<u32>,
    /// Bytes; images lie one behind the other.
    pub(super) lengths: Vec<u32>,
    pub(super) crc32: Vec<u32>,
}

/// The second line of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    pub(super) plan: Plan,
    pub(super) classes: Vec<String>,
    pub(super) shards: Vec<Shard>,
    pub(super) images: Entries,
    /// Names and reasons of photographs that were left out or repaired.
    pub(super) bad_images: Vec<(String, String)>,
}

/// A shard and what is in it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Photographs that this shard accounts for, with those that were left out.
    pub(super) n_seen: usize,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) images: Entries,
    pub(super) bad_images: Vec<(String, String)>,
}

/// File name of shard `k`.
pub(super) fn shard_name(k: usize) -> String {
    format!("shard-{k:05}.jpegs")
}

impl Index {
    /// The index of shards that hold these records.
    pub(super) fn new(plan: Plan, classes: Vec<String>, records: Vec<Record>) -> Self {
        let (shards, images, bad_images) = (Vec::new(), Entries::default(), Vec::new());
        let mut index = Self { plan, classes, shards, images, bad_images };
        for Record { bytes, sha256, images, bad_images, .. } in records {
            let n_images = images.names.len();
            index.shards.push(Shard { bytes, n_images, sha256 });
            index.images.names.extend(images.names);
            index.images.labels.extend(images.labels);
            index.images.lengths.extend(images.lengths);
            index.images.crc32.extend(images.crc32);
            index.bad_images.extend(bad_images);
        }
        index.bad_images.sort_unstable();
        index
    }

    /// Writes the index of the pack in `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(INDEX);
        let body = json::line(&path, self)?;
        let sha256 = fsx::sha256(&body);
        let header = Header { format: FORMAT.into(), version: VERSION, sha256 };
        let lines = [json::line(&path, &header)?, body, Vec::new()];
        fsx::write_atomic(&path, &lines.join(&b'\n'))
    }

    /// Reads and checks the index of the pack in `folder`; gives its digest, too.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Checksum`] when it is damaged; [`Error::Parse`]
    /// when it is no index, of another version, or contradicts itself.
    pub(super) fn read(folder: &Path) -> Result<(Self, String)> {
        let path = folder.join(INDEX);
        let hint = "`kd data pack` writes such a folder";
        let content = fsx::read_bounded(&path, MAX_INDEX, hint)?;
        let fault = |reason: &str| Error::parse(&path, reason);
        let mut lines = content.splitn(2, |&byte| byte == b'\n');
        let (header, body) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let header: Header = json::parse(&path, header)?;
        if (header.format.as_str(), header.version) != (FORMAT, VERSION) {
            return Err(fault("is no index of a pack of version 1; pack again"));
        }
        let body = body.strip_suffix(b"\n").ok_or_else(|| fault("is cut off; pack again"))?;
        let got = fsx::sha256(body);
        if got != header.sha256 {
            return Err(Error::Checksum { path, expected: header.sha256, got });
        }
        let index: Self = json::parse(&path, body)?;
        index.check().map_err(|reason| fault(&reason))?;
        Ok((index, got))
    }

    /// Whether the lists agree with each other.
    fn check(&self) -> std::result::Result<(), String> {
        let Entries { names, labels, lengths, crc32 } = &self.images;
        let n = names.len();
        if n == 0 || [labels.len(), lengths.len(), crc32.len()] != [n; 3] {
            return Err("its lists are empty or of different lengths".into());
        }
        if !self.classes.is_sorted_by(|a, b| a < b) {
            return Err("its classes are not in order".into());
        }
        for (name, &label) in names.iter().zip(labels) {
            let class = self.classes.get(label as usize);
            if class.is_none()
                || name.split_once('/').map(|(class, _)| class) != class.map(|c| &**c)
            {
                return Err(format!("{name} is not of class {label}"));
            }
        }
        let mut lengths = lengths.iter();
        for (k, shard) in self.shards.iter().enumerate() {
            let bytes: u64 = lengths.by_ref().take(shard.n_images).map(|&n| u64::from(n)).sum();
            if bytes != shard.bytes || !(1..=MAX_SHARD).contains(&bytes) {
                return Err(format!("{} is not as long as its images", shard_name(k)));
            }
        }
        match self.shards.iter().map(|shard| shard.n_images).fold(0, usize::saturating_add) == n {
            true => Ok(()),
            false => Err("its shards do not have as many images as it names".into()),
        }
    }
}
