//! Two-dimensional convolution: `y = conv(x, w) + b`.

mod blocks;
mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod geometry;
pub(crate) mod kept;
mod lanes;
mod op;
mod pack;
mod pointwise;
mod scatter;
mod spread;
mod tile;
pub(crate) mod weights;
mod winograd;

use serde::{Deserialize, Serialize};

pub use op::Conv2d;

/// How the sums of 3x3 windows at stride 1 are formed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConvSums {
    /// With fewer multiplications where the layer's shape allows it (Winograd): the rounding is two
    /// to three times that of the exact sums.
    #[default]
    Fast,
    /// Product by product.
    Exact,
}

/// How the windows of a convolution lie on the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conv {
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Zeros above, to the left, below and to the right.
    pub padding: [usize; 4],
    /// Rows and columns from one tap to the next.
    pub dilation: [usize; 2],
    /// Input and output channels fall into so many groups that do not meet.
    pub groups: usize,
}

impl Conv {
    /// Zeros before and behind the image, in direction `axis`: 0 down, 1 to the right.
    pub(crate) fn padding_of(&self, axis: usize) -> (usize, usize) {
        (self.padding[axis], self.padding[axis + 2])
    }

    /// Pixels from a window's first to its last, that one too, for `taps` of them; nothing when
    /// that is no number.
    pub(crate) fn reach(&self, axis: usize, taps: usize) -> Option<usize> {
        taps.checked_sub(1)?.checked_mul(self.dilation[axis])?.checked_add(1)
    }
}

impl Default for Conv {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 4], dilation: [1; 2], groups: 1 }
    }
}

#[cfg(test)]
mod tests;
