//! Tiles and weights at the points, and back.

use pulp::{Simd, WithSimd};

use super::LANES;
use super::transform::{self, IN, Inputs, OUT, OutputGradients, POINTS, TAPS, square};
use crate::scratch::LINE;

/// Values from one point's weights to the next: the same row of all points then falls into
/// different sets of the first-level cache.
pub(super) fn point_len(n_rows: usize, width: usize) -> usize {
    n_rows * width + LINE
}

/// Weights at the points.
pub(super) struct Weights<'a> {
    /// A row of `width` for each tap and input channel.
    pub(super) from: &'a [f32],
    pub(super) n_rows: usize,
    pub(super) width: usize,
    /// As many rows for each point, [`point_len`] values apart.
    pub(super) to: &'a mut [f32],
}

impl WithSimd for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { from, n_rows, width, to } = self;
        let (len, point_len) = (n_rows * width, point_len(n_rows, width));
        assert!(from.len() >= TAPS * TAPS * len && to.len() >= POINTS * point_len);
        for first in (0..len).step_by(S::F32_LANES) {
            #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
            // SAFETY: a vector from `first` on is within the rows of a tap or point, and the assert
            // says that so many lie in `from` and in `to`.
            unsafe {
                let from = (from.as_ptr().add(first), [TAPS * len, len]);
                let to = (to.as_mut_ptr().add(first), [IN * point_len, point_len]);
                square::<S, transform::Weights, TAPS, IN>(simd, from, to, [IN; 2]);
            }
        }
    }
}

/// The gradient of the weights to sixteen output channels, from that at the points.
pub(super) struct WeightGradients<'a> {
    /// Rows of sixteen for each input channel.
    pub(super) sums: &'a [f32],
    /// Values from one point to the next.
    pub(super) point_len: usize,
    pub(super) n_in: usize,
    /// `(16, C, 3, 3)`.
    pub(super) weight: &'a mut [f32],
}

impl WithSimd for WeightGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        const WINDOW: usize = TAPS * TAPS;
        let Self { sums, point_len, n_in, weight } = self;
        assert!((POINTS - 1) * point_len + n_in * LANES <= sums.len());
        for row in 0..n_in {
            let mut window = [[0.0f32; LANES]; WINDOW];
            for col in (0..LANES).step_by(S::F32_LANES) {
                #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
                // SAFETY: bounded by the assert above; a vector from `col` on is within a window's.
                unsafe {
                    let from = sums.as_ptr().add(row * LANES + col);
                    let to = window.as_mut_ptr().cast::<f32>().add(col);
                    let from = (from, [IN * point_len, point_len]);
                    let to = (to, [TAPS * LANES, LANES]);
                    square::<S, transform::WeightGradients, IN, TAPS>(simd, from, to, [TAPS; 2]);
                }
            }
            for (o, weight) in weight.chunks_exact_mut(n_in * WINDOW).enumerate() {
                let weight = weight[row * WINDOW..][..WINDOW].iter_mut();
                weight.zip(&window).for_each(|(weight, values)| *weight = values[o]);
            }
        }
    }
}

/// What tiles hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// 6x6 inputs.
    Input,
    /// 4x4 gradients of outputs.
    Gradient,
}

/// Tiles at the points: for each point sixteen channels of all tiles, then the next sixteen.
pub(super) struct Tiles<'a> {
    pub(super) side: Side,
    pub(super) values: &'a [f32],
    /// Values from one row to the next, and from one image.
    pub(super) row_len: usize,
    pub(super) image_len: usize,
    pub(super) n_channels: usize,
    /// Images, and rows and columns of tiles of each.
    pub(super) tiles: [usize; 3],
    /// Tiles for which there is place.
    pub(super) capacity: usize,
    /// Values from one point to the next.
    pub(super) point_len: usize,
    pub(super) to: &'a mut [f32],
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { side, values, row_len, image_len, n_channels, capacity, point_len, .. } = self;
        let [n_images, rows, cols] = self.tiles;
        let more = if side == Side::Input { IN - OUT } else { 0 };
        let last = n_images.saturating_sub(1) * image_len + (rows * OUT + more - 1) * row_len;
        assert!(last + (cols * OUT + more) * n_channels <= values.len());
        assert!(n_images * rows * cols <= capacity && POINTS * point_len <= self.to.len());
        assert!(capacity * n_channels <= point_len && n_channels.is_multiple_of(LANES));
        for t in 0..n_images * rows * cols {
            let (image, tile) = (t / (rows * cols), t % (rows * cols));
            let (y, x) = (tile / cols * OUT, tile % cols * OUT);
            let place = image * image_len + y * row_len + x * n_channels;
            for c in (0..n_channels).step_by(S::F32_LANES) {
                let to = (c / LANES * capacity + t) * LANES + c % LANES;
                #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
                // SAFETY: the asserts above: the last tile ends within `values`, and sixteen
                // channels of all tiles lie within a point's values, which lie within `to`.
                unsafe {
                    let from = (values.as_ptr().add(place + c), [row_len, n_channels]);
                    let to = (self.to.as_mut_ptr().add(to), [IN * point_len, point_len]);
                    match side {
                        Side::Input => square::<S, Inputs, IN, IN>(simd, from, to, [IN; 2]),
                        Side::Gradient => {
                            square::<S, OutputGradients, OUT, IN>(simd, from, to, [IN; 2])
                        }
                    }
                }
            }
        }
    }
}
