//! A pack in a few figures.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// What is in a pack, and what came of making it.
#[derive(Debug, Serialize)]
pub struct PackSummary {
    /// The folder.
    pub path: PathBuf,
    /// Its images.
    pub images: usize,
    /// Its classes.
    pub classes: usize,
    /// Its shards.
    pub shards: usize,
    /// Bytes of all shards.
    pub bytes: u64,
    /// Names and reasons of what was left out or repaired.
    pub bad_images: Vec<(String, String)>,
    /// Packed by this call; fewer than `images` when it went on with earlier work.
    pub packed: usize,
    /// How long that took.
    pub seconds: f64,
    /// Whether all of it was read and checked.
    pub verified: bool,
}

impl fmt::Display for PackSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, classes, shards, bytes, packed, seconds, .. } = self;
        self.bad_images.iter().try_for_each(|(name, reason)| writeln!(f, "{name}: {reason}"))?;
        let mib = *bytes as f64 / f64::from(1 << 20);
        let verified = if self.verified { "; verified" } else { "" };
        write!(
            f,
            "{}: {images} images of {classes} classes in {shards} shards, {mib:.1} MiB; packed \
             {packed} in {seconds:.1} s{verified}",
            self.path.display()
        )
    }
}
