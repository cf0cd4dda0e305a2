//! The SHA-256 of each image of a folder.

use kd_core::fsx;

/// Name of the file.
pub(crate) const SUMS: &str = "SHA256SUMS";
/// What is wrong with an image whose digest is another.
pub(crate) const DIFFERS: &str = "its SHA-256 differs from that in SHA256SUMS";
/// What to do where images and lines are not meant to agree.
pub(crate) const REMEDY: &str = "write the checksums anew: `kd data sums DIR --force`";

pub(super) type Digest = [u8; 32];

/// The digests of the images of a listing, in its order.
#[derive(Debug)]
pub(crate) struct Sums(pub(super) Vec<Digest>);

impl Sums {
    /// Whether `bytes` are those of image `i` of the listing.
    pub(crate) fn agree(&self, i: usize, bytes: &[u8]) -> bool {
        hex(&self.0[i]) == fsx::sha256(bytes)
    }
}

/// 64 digits, lower case.
pub(super) fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
