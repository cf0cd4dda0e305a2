//! Reads a pack by memory map.

use std::path::{Path, PathBuf};

use kd_core::record::DataFile;
use kd_core::{Error, Result, fsx};
use memmap2::Mmap;
use rayon::prelude::*;

use super::PackSummary;
use super::index::{Index, Plan, shard_name};

/// The JPEG files of a pack, with labels, read by memory map.
///
/// Opening reads the index and checks it against its digest and the sizes of the shards; each
/// image is checked by its CRC-32 when it is read. A pack is never changed in place: `kd` writes
/// a new one under another name and renames it, and who has the old one open keeps it. Who
/// overwrites bytes of a shard in use by other means gets an error that names the image; who cuts
/// a shard off while it is in use ends the program with a bus error, as with every memory map.
#[derive(Debug)]
pub struct Packed {
    folder: PathBuf,
    index: Index,
    sha256: String,
    shards: Vec<Mmap>,
    /// Shard and offset of each image.
    places: Vec<(u32, u32)>,
}

impl Packed {
    /// Opens the pack in the folder `path`.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none; [`Error::Checksum`] or [`Error::Parse`] when the
    /// index is damaged or a shard is not as long as it should be; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let (index, sha256) = Index::read(path)?;
        let shards = index.shards.iter().enumerate();
        let shards = shards.map(|(k, shard)| map(&path.join(shard_name(k)), shard.bytes));
        let shards = shards.collect::<Result<_>>()?;
        let places = places(&index);
        Ok(Self { folder: path.into(), index, sha256, shards, places })
    }

    /// Number of images, N; never zero.
    #[expect(clippy::len_without_is_empty, reason = "a pack is never empty")]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Number of shards.
    pub fn n_shards(&self) -> usize {
        self.shards.len()
    }

    /// Bytes of all images together.
    pub fn n_bytes(&self) -> u64 {
        self.index.shards.iter().map(|shard| shard.bytes).sum()
    }

    /// All labels, each below the number of classes.
    pub fn labels(&self) -> &[u32] {
        &self.index.images.labels
    }

    /// Names of the classes, sorted.
    pub fn classes(&self) -> &[String] {
        &self.index.classes
    }

    /// `CLASS/FILE` of image `i`, as it was called before it was packed.
    ///
    /// # Panics
    /// When `i` is not below [`Packed::len`].
    pub fn name(&self, i: usize) -> &str {
        &self.index.images.names[i]
    }

    /// The JPEG file of image `i`.
    ///
    /// # Errors
    /// [`Error::Parse`] when its bytes are not those that were written.
    ///
    /// # Panics
    /// When `i` is not below [`Packed::len`].
    pub fn bytes(&self, i: usize) -> Result<&[u8]> {
        let (shard, offset) = self.places[i];
        let end = offset as usize + self.index.images.lengths[i] as usize;
        let bytes = &self.shards[shard as usize][offset as usize..end];
        if crc32fast::hash(bytes) == self.index.images.crc32[i] {
            return Ok(bytes);
        }
        let path = self.shard_path(i);
        let reason = format!("{} is damaged: its checksum is wrong; pack again", self.name(i));
        Err(Error::Parse { path, offset: offset.into(), reason })
    }

    /// The shard in which image `i` lies.
    ///
    /// # Panics
    /// When `i` is not below [`Packed::len`].
    pub fn shard_path(&self, i: usize) -> PathBuf {
        self.folder.join(shard_name(self.places[i].0 as usize))
    }

    /// Name of the folder, digest of the index, which holds those of all shards, and N.
    pub fn file(&self) -> DataFile {
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        DataFile { name, sha256: self.sha256.clone(), n_items: self.len() }
    }

    /// Photographs that were left out or repaired when they were packed: names and reasons,
    /// sorted by name.
    pub fn bad_images(&self) -> &[(String, String)] {
        &self.index.bad_images
    }

    /// Reads everything: each shard against its SHA-256, each image against its CRC-32.
    ///
    /// # Errors
    /// [`Error::Parse`] for the first damaged image; [`Error::Checksum`] for a shard.
    pub fn verify(&self) -> Result<()> {
        (0..self.len()).into_par_iter().try_for_each(|i| self.bytes(i).map(drop))?;
        let shards = self.shards.par_iter().zip(&self.index.shards).enumerate();
        shards.try_for_each(|(k, (map, shard))| {
            let (path, got) = (self.folder.join(shard_name(k)), fsx::sha256(map));
            let expected = shard.sha256.clone();
            if got == expected { Ok(()) } else { Err(Error::Checksum { path, expected, got }) }
        })
    }

    /// What is in it.
    pub fn summary(&self) -> PackSummary {
        PackSummary {
            path: self.folder.clone(),
            images: self.len(),
            classes: self.classes().len(),
            shards: self.n_shards(),
            bytes: self.n_bytes(),
            bad_images: self.bad_images().to_vec(),
            packed: 0,
            seconds: 0.0,
            verified: false,
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.index.plan
    }
}

fn map(path: &Path, n_bytes: u64) -> Result<Mmap> {
    let file = fsx::open(path, "the pack is incomplete; pack again")?;
    let found = file.metadata().map_err(Error::io(path, "read"))?.len();
    if found != n_bytes {
        let reason = format!("has {found} bytes, the index says {n_bytes}; pack again");
        return Err(Error::parse(path, reason));
    }
    #[expect(unsafe_code, reason = "a memory map is unsafe to make: others may change the file")]
    // SAFETY: the file is opened for reading only and never written in place by this program
    // (shards appear by rename); what others do to it is documented at `Packed`.
    let map = unsafe { Mmap::map(&file) };
    map.map_err(Error::io(path, "map"))
}

/// Where the images lie, by the lengths; the index has been checked.
fn places(index: &Index) -> Vec<(u32, u32)> {
    let mut lengths = index.images.lengths.iter();
    let mut places = Vec::with_capacity(index.images.lengths.len());
    for (k, shard) in (0..).zip(&index.shards) {
        let mut offset = 0;
        for length in lengths.by_ref().take(shard.n_images) {
            places.push((k, offset));
            offset += length;
        }
    }
    places
}
