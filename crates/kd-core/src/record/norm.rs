//! Distances between images.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far two images are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The largest change of a pixel.
    #[default]
    Linf,
    /// Euclidean.
    L2,
    /// The number of values that differ.
    L0,
}

impl fmt::Display for Norm {
    /// As in suite files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
            Self::L0 => "l0",
        })
    }
}
