//! 3x3 windows at stride 1 with 2.25 multiplications for each output instead of 9.
//!
//! Winograd's F(4x4, 3x3) (Lavin, Gray 2015): 6x6 input values `d` and 3x3 weights `g` give 4x4
//! outputs `A^T [(G g G^T) . (B^T d B)] A`; the product in the middle is, over all tiles and
//! channels, 36 matrix products. The gradient of the weights is the derivative of this form:
//! `G^T [(B^T d B) . (A y A^T)] G`, summed over tiles, with `y` the gradient of the outputs.

mod gradient;
mod points;
mod products;
mod sums;
mod transform;

use super::ConvSums;
use super::geometry::{Geometry, Padded};
use super::pack::Direction;
pub(super) use gradient::{grad_weight, gradients};
pub(super) use sums::Winograd;
use transform::{IN, OUT, POINTS};

/// Channels are taken in whole vectors of any processor.
const LANES: usize = 16;

/// Whether the sums in this direction are formed this way. It depends on the shape of the layer
/// only, so that neither the machine nor the batch changes a result.
pub(super) fn suits(geometry: &Geometry, direction: Direction) -> bool {
    let (channels, out_channels) = (geometry.channels, geometry.out_channels);
    let size = match direction {
        Direction::Forward => geometry.out_size,
        Direction::Backward => geometry.size,
    };
    let tiles = size.map(|side| side.div_ceil(OUT));
    // Below half of a tile in use its transforms cost more than the products save.
    let is_filled = 2 * size[0] * size[1] >= OUT * OUT * tiles[0] * tiles[1];
    geometry.sums == ConvSums::Fast
        && geometry.kernel == [3, 3]
        && (geometry.conv.stride, geometry.conv.dilation) == ([1; 2], [1; 2])
        && geometry.conv.groups == 1
        && geometry.conv.padding.iter().all(|zeros| *zeros <= 2)
        && channels.is_multiple_of(LANES)
        && out_channels.is_multiple_of(LANES)
        && is_filled
}

/// Values of a matrix of weights, or of their gradient, at all points, with what keeps them apart: of
/// one length, so that their memory goes from one to the other.
fn at_points(n_in: usize, n_out: usize) -> usize {
    // A line of the cache for each panel, of at least two columns.
    POINTS * (n_in + LANES / 2) * n_out + LANES
}

/// How an image of outputs falls into tiles; those at its lower and right border may go beyond it.
#[derive(Debug, Clone, Copy)]
struct Tiling {
    /// Rows and columns of outputs.
    size: [usize; 2],
    /// Rows and columns of tiles.
    tiles: [usize; 2],
}

impl Tiling {
    fn new(size: [usize; 2]) -> Self {
        Self { size, tiles: size.map(|side| side.div_ceil(OUT)) }
    }

    /// Tiles of an image.
    fn len(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// The image of tile number `i` of some images, and its first row and column.
    fn place(&self, i: usize) -> (usize, [usize; 2]) {
        let (image, tile) = (i / self.len(), i % self.len());
        (image, [tile / self.tiles[1] * OUT, tile % self.tiles[1] * OUT])
    }

    /// The outputs with the margins that tiles have beyond them.
    fn whole(&self, outputs: Padded) -> Padded {
        let after = [0, 1].map(|axis| self.tiles[axis] * OUT - self.size[axis]);
        Padded { after, ..outputs }
    }

    /// The margins of a source that its tiles read.
    fn padded(&self, source: Padded) -> Padded {
        let after = [0, 1].map(|axis| {
            let end = self.tiles[axis] * OUT + IN - OUT;
            let inside = source.before[axis] + source.size[axis];
            source.after[axis].max(end.saturating_sub(inside))
        });
        Padded { after, ..source }
    }
}
