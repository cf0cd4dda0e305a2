//! Two-dimensional convolution: `y = conv(x, w) + b`.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod geometry;
mod op;
mod pack;
mod scatter;
mod tile;
pub(crate) mod weights;
mod winograd;

use serde::{Deserialize, Serialize};

pub use op::Conv2d;

/// How the windows of a convolution lie on the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conv {
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Zeros around the image, on each side.
    pub padding: usize,
    /// Input and output channels fall into so many groups that do not meet.
    pub groups: usize,
}

impl Default for Conv {
    fn default() -> Self {
        Self { stride: 1, padding: 0, groups: 1 }
    }
}
