//! How images get where they belong.

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
}
