//! Photographs made smaller once, for repeated runs: shards of JPEG files and an index.
//!
//! A pack is a folder: `index.jsonl` and `shard-00000.jpegs`, `shard-00001.jpegs` and so on, each
//! the plain concatenation of JPEG files. The index has two lines: the format's name, its version
//! and the SHA-256 of the second line; then one JSON object, in which the lists `names`, `labels`,
//! `lengths` and `crc32` have one entry for each image, in the order of the shards, so that any
//! language reads a pack in a few lines.
//!
//! Key decision: what comes out is a function of the photographs and the settings alone, down to
//! the byte, whatever the number of threads and however often the work was cut off.
//!
//! It is lossy: photographs are resized and compressed again. Accuracies on a pack are close to
//! those on the originals, but they are not the same numbers.

mod index;
mod packer;
mod reader;
mod summary;
mod work;

use kd_core::{Result, in_range};
use serde::{Deserialize, Serialize};

pub use self::packer::Packer;
pub use self::reader::Packed;
pub use self::summary::PackSummary;

pub(crate) use self::index::INDEX;

/// How photographs are packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PackSettings {
    /// Pixels of the shorter side, 1 to 4096; smaller photographs stay as large as they are.
    pub side: usize,
    /// Quality of the JPEG files on libjpeg's scale of 1 to 100; color has half the resolution.
    pub quality: u8,
    /// The most MiB of a shard, 1 to 4095; an image that is larger has its own.
    pub shard_mib: usize,
}

impl Default for PackSettings {
    fn default() -> Self {
        Self { side: 256, quality: 90, shard_mib: 256 }
    }
}

impl PackSettings {
    fn check(&self) -> Result<()> {
        in_range("side", self.side, 1, 4096)?;
        in_range("quality", self.quality, 1, 100)?;
        in_range("shard_mib", self.shard_mib, 1, 4095)
    }
}

#[cfg(test)]
mod tests;
