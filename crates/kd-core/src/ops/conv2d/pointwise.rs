//! The sums of 1x1 windows: the product of a matrix whose rows are pixels and that of the weights.
//!
//! Key decision: pixels follow each other in memory, so that no table says where they lie, and small weights stay
//! in the first-level cache while all columns of a few pixels are formed.

use pulp::{Simd, WithSimd};

use super::tile::{MAX_HEIGHT, PanelWidth, height, store};
use crate::simd::constant;

/// `out[p][o] = sum over channels c of x[p][c] * weights[c][o]` for all pixels `p`.
pub(super) struct PointSum<'a> {
    /// `n_in` channels for each pixel.
    pub(super) x: &'a [f32],
    pub(super) n_in: usize,
    /// Panels of packed weights: channel by channel, a panel's columns.
    pub(super) panels: &'a [f32],
    /// `n_out` channels for each pixel.
    pub(super) out: &'a mut [f32],
    pub(super) n_out: usize,
}

/// Values of weights, and of pixels, that are taken together: both fit a first-level cache.
const CACHED: usize = 1 << 12;

impl WithSimd for PointSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let n_pixels = self.out.len() / self.n_out;
        assert_eq!(self.x.len(), n_pixels * self.n_in, "as many pixels in as out");
        // Weights that do not fit are read panel by panel, each of them for all pixels.
        let step = if self.n_in * self.n_out <= CACHED {
            (CACHED / self.n_in).next_multiple_of(MAX_HEIGHT)
        } else {
            n_pixels.max(1)
        };
        for first in (0..n_pixels).step_by(step) {
            self.pixels(simd, (first, n_pixels.min(first + step)));
        }
    }
}

impl PointSum<'_> {
    #[inline(always)]
    fn pixels<S: Simd>(&mut self, simd: S, pixels: (usize, usize)) {
        let (mut col, mut panels) = (0, self.panels);
        while col < self.n_out {
            let width = PanelWidth { left: self.n_out - col }.with_simd(simd);
            let (panel, rest) = panels.split_at(self.n_in * width);
            let cols = (col, width.min(self.n_out - col));
            if width == S::F32_LANES {
                self.panel::<S, 1>(simd, panel, pixels, cols);
            } else {
                self.panel::<S, 2>(simd, panel, pixels, cols);
            }
            (col, panels) = (col + width, rest);
        }
    }

    #[inline(always)]
    fn panel<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        panel: &[f32],
        (first, end): (usize, usize),
        cols: (usize, usize),
    ) {
        for pixel in (first..end).step_by(height::<S, V>()) {
            let n_pixels = height::<S, V>().min(end - pixel);
            constant!(R = n_pixels, height::<S, V>(), {
                self.tile::<S, R, V>(simd, panel, pixel, cols);
            });
        }
    }

    /// `R` pixels and `V` vectors of columns.
    #[expect(clippy::needless_range_loop, reason = "an iterator would take the sums' address")]
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        panel: &[f32],
        pixel: usize,
        (col, n_cols): (usize, usize),
    ) {
        let x = &self.x[pixel * self.n_in..][..R * self.n_in];
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        let weights = S::as_simd_f32s(panel).0.chunks_exact(V);
        for (c, weights) in (0..self.n_in).zip(weights) {
            for r in 0..R {
                #[expect(unsafe_code, reason = "bounds checks would cost more than the sums")]
                // SAFETY: c < n_in and r < R, and `x` has R * n_in values.
                let value = simd.splat_f32s(unsafe { *x.get_unchecked(r * self.n_in + c) });
                for v in 0..V {
                    sums[r][v] = simd.mul_add_f32s(value, weights[v], sums[r][v]);
                }
            }
        }
        for r in 0..R {
            // By value: the sums would leave their registers if their address were taken.
            let (sums, at) = (sums[r], (pixel + r) * self.n_out + col);
            store::<S, V>(sums, &mut self.out[at..][..n_cols]);
        }
    }
}
