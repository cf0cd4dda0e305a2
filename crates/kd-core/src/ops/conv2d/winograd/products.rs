//! The inner loops between the transforms: sums that stay in registers.

use pulp::{Simd, WithSimd};

use super::super::tile::MAX_HEIGHT;
use super::LANES;
use super::transform::{read, write};

/// `out[row] = v[row] weights`, for rows of `n_in` values and one panel of weights, `V` vectors at a
/// time; whole tiles, with what lies behind the last row.
#[inline(always)]
pub(super) fn rows<S: Simd, const V: usize>(
    simd: S,
    n_rows: usize,
    (v, n_in): (&[f32], usize),
    (weights, width): (&[f32], usize),
    (out, n_cols): (&mut [f32], usize),
) {
    // Many registers (AVX-512) take tiles of 12 rows, few (AVX2) of 6.
    let height = if S::REGISTER_COUNT >= 32 { MAX_HEIGHT } else { MAX_HEIGHT / 2 };
    let end = n_rows.next_multiple_of(height);
    assert!(end * n_in <= v.len() && weights.len() == n_in * width);
    assert!(end > 0 && (end - 1) * n_cols + width <= out.len());
    assert!(width.is_multiple_of(V * S::F32_LANES));
    for col in (0..width).step_by(V * S::F32_LANES) {
        for row in (0..end).step_by(height) {
            #[expect(unsafe_code, reason = "bounds checks would cost more than the sums")]
            // SAFETY: rows up to `end` and columns up to `width` lie within all three, by the
            // asserts above.
            unsafe {
                let v = v.as_ptr().add(row * n_in);
                let weights = weights.as_ptr().add(col);
                let out = out.as_mut_ptr().add(row * n_cols + col);
                if S::REGISTER_COUNT >= 32 {
                    tile::<S, V, MAX_HEIGHT>(simd, (v, n_in), (weights, width), (out, n_cols));
                } else {
                    tile::<S, V, { MAX_HEIGHT / 2 }>(
                        simd,
                        (v, n_in),
                        (weights, width),
                        (out, n_cols),
                    );
                }
            }
        }
    }
}

/// # Safety
/// `v` has `R` rows of `n_in` values; `weights` and `out` have `V` vectors in each of n_in and of `R`
/// rows, which are `width` and `n_cols` values apart.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "an iterator would take the values' address")]
#[expect(unsafe_code, reason = "bounds checks would cost more than the sums")]
unsafe fn tile<S: Simd, const V: usize, const R: usize>(
    simd: S,
    (v, n_in): (*const f32, usize),
    (mut weights, width): (*const f32, usize),
    (out, n_cols): (*mut f32, usize),
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    // SAFETY: asked of the caller.
    unsafe {
        for k in 0..n_in {
            let mut w = [simd.splat_f32s(0.0); V];
            for i in 0..V {
                w[i] = read::<S>(weights.add(i * S::F32_LANES));
            }
            for r in 0..R {
                let value = simd.splat_f32s(*v.add(r * n_in + k));
                for i in 0..V {
                    sums[r][i] = simd.mul_add_f32s(value, w[i], sums[r][i]);
                }
            }
            weights = weights.wrapping_add(width);
        }
        for r in 0..R {
            for i in 0..V {
                write::<S>(out.add(r * n_cols + i * S::F32_LANES), sums[r][i]);
            }
        }
    }
}

/// Values of a square of sums.
pub(super) const SQUARE: usize = LANES * LANES;

/// Adds to squares of sixteen input and sixteen output channels the sum over tiles of
/// `v[tile][input] g[tile][output]`, at one point.
pub(super) struct Squares<'a> {
    /// From the point's values on, and values from one group to the next.
    pub(super) v: (&'a [f32], usize),
    /// The same from sixteen output channels on.
    pub(super) g: (&'a [f32], usize),
    /// Tiles of each group, and of the largest.
    pub(super) n_tiles: &'a [usize],
    pub(super) capacity: usize,
    pub(super) sums: &'a mut [f32],
}

impl WithSimd for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let n_squares = self.sums.len() / SQUARE;
        let last = self.n_tiles.len().saturating_sub(1);
        assert!(self.n_tiles.iter().all(|n| *n <= self.capacity));
        assert!(last * self.v.1 + n_squares * self.capacity * LANES <= self.v.0.len());
        assert!(last * self.g.1 + self.capacity * LANES <= self.g.0.len());
        for square in 0..n_squares {
            if S::F32_LANES >= LANES {
                self.rows::<S, 16, 1>(simd, square, (0, 0));
                continue;
            }
            for col in (0..LANES).step_by(2 * S::F32_LANES) {
                self.rows::<S, 6, 2>(simd, square, (0, col));
                self.rows::<S, 6, 2>(simd, square, (6, col));
                self.rows::<S, 4, 2>(simd, square, (12, col));
            }
        }
    }
}

impl Squares<'_> {
    /// `R` input and `V` vectors of output channels.
    #[expect(clippy::needless_range_loop, reason = "an iterator would take the values' address")]
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        square: usize,
        (row, col): (usize, usize),
    ) {
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        for (group, n_tiles) in self.n_tiles.iter().enumerate() {
            #[expect(unsafe_code, reason = "bounds checks would cost more than the sums")]
            // SAFETY: `with_simd` has asserted that each group has `capacity` tiles of sixteen
            // channels from the square on in `v` and in `g`, and no more in `n_tiles`.
            unsafe {
                let v = group * self.v.1 + square * self.capacity * LANES + row;
                let mut v = self.v.0.as_ptr().add(v);
                let mut g = self.g.0.as_ptr().add(group * self.g.1 + col);
                for _ in 0..*n_tiles {
                    let mut values = [simd.splat_f32s(0.0); V];
                    for i in 0..V {
                        values[i] = read::<S>(g.add(i * S::F32_LANES));
                    }
                    for r in 0..R {
                        let v = simd.splat_f32s(*v.add(r));
                        for i in 0..V {
                            sums[r][i] = simd.mul_add_f32s(v, values[i], sums[r][i]);
                        }
                    }
                    v = v.wrapping_add(LANES);
                    g = g.wrapping_add(LANES);
                }
            }
        }
        let to = &mut self.sums[square * SQUARE..][..SQUARE];
        for r in 0..R {
            for i in 0..V {
                let to = &mut to[(row + r) * LANES + col + i * S::F32_LANES..][..S::F32_LANES];
                #[expect(unsafe_code, reason = "vectors lie anywhere")]
                // SAFETY: a vector's values are in `to`.
                unsafe {
                    let sum = simd.add_f32s(read::<S>(to.as_ptr()), sums[r][i]);
                    write::<S>(to.as_mut_ptr(), sum);
                }
            }
        }
    }
}
