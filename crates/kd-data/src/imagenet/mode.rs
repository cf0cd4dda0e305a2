//! How images get where they belong.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// How an image gets into its class folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Moved out of the flat folder; copied first where that is on another file system.
    Move,
    /// A second name of the same file.
    Hardlink,
    /// A symbolic link with an absolute target.
    Symlink,
    /// A copy.
    Copy,
    /// Read from the archive.
    Extract,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 5] =
        [Self::Move, Self::Hardlink, Self::Symlink, Self::Copy, Self::Extract];

    /// The usual one for the images at `path`: out of an archive, or hard links.
    pub fn usual(path: &Path) -> Self {
        if path.is_file() { Self::Extract } else { Self::Hardlink }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}
