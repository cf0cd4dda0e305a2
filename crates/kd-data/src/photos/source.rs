//! Where photographs are: each in a file of its own, or packed.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use kd_core::Result;
use kd_core::record::DataFile;
use rayon::prelude::*;

use super::Packed;
use crate::listing::{Listing, MAX_IMAGE};
use crate::sums;

/// Encoded photographs, by number.
#[derive(Debug)]
pub(super) enum Source {
    /// With their digest, once it is asked for.
    Files(Listing, OnceLock<DataFile>),
    Packed(Packed),
}

impl Source {
    pub(super) fn labels(&self) -> &[u32] {
        match self {
            Self::Files(listing, _) => &listing.labels,
            Self::Packed(packed) => packed.labels(),
        }
    }

    pub(super) fn classes(&self) -> &[String] {
        match self {
            Self::Files(listing, _) => &listing.classes,
            Self::Packed(packed) => packed.classes(),
        }
    }

    /// `CLASS/FILE` of photograph `i`.
    pub(super) fn name(&self, i: usize) -> String {
        match self {
            Self::Files(listing, _) => listing.name(i),
            Self::Packed(packed) => packed.name(i).to_owned(),
        }
    }

    /// The file that photograph `i` lies in.
    pub(super) fn path(&self, i: usize) -> PathBuf {
        match self {
            Self::Files(listing, _) => listing.path(i),
            Self::Packed(packed) => packed.shard_path(i),
        }
    }

    pub(super) fn bytes(&self, i: usize) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Files(listing, _) => listing.bytes(i, MAX_IMAGE).map(Cow::Owned),
            Self::Packed(packed) => packed.bytes(i).map(Cow::Borrowed),
        }
    }

    pub(super) fn file(&self) -> DataFile {
        match self {
            Self::Files(listing, file) => file.get_or_init(|| digest(listing)).clone(),
            Self::Packed(packed) => packed.file(),
        }
    }
}

/// One digest of all names and contents; of names and sizes where the contents have no checksums.
fn digest(listing: &Listing) -> DataFile {
    if let Some(sums) = &listing.sums {
        return sums::file(sums, listing);
    }
    let line = |i: usize| {
        let size = fs::metadata(listing.path(i)).map_or(0, |metadata| metadata.len());
        format!("{size}  {}\n", listing.name(i))
    };
    let lines: Vec<String> = (0..listing.files.len()).into_par_iter().map(line).collect();
    listing.identity(lines.into_iter())
}
