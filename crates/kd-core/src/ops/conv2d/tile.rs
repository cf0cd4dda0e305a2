//! The two inner loops of convolutions: sums that stay in registers.
//!
//! Key decision: no image is unrolled to a matrix (im2col). A tile takes the places of its pixels
//! from a table and reads the channels where they lie; in NHWC a whole row of the kernel is one
//! run of memory. Each sum is a chain of fused multiply-adds in a fixed order.

use pulp::{Simd, WithSimd};

use super::geometry::Run;
use crate::simd::constant;

/// Pixels of the largest tile.
pub(super) const MAX_HEIGHT: usize = 12;

/// Rows of a tile of `V` vectors: many registers (AVX-512) take 12, few (AVX2) half of it, unless a
/// row is a single vector.
pub(super) const fn height<S: Simd, const V: usize>() -> usize {
    if S::REGISTER_COUNT >= 32 || V == 1 { MAX_HEIGHT } else { MAX_HEIGHT / 2 }
}

/// How many columns a panel of packed weights has when `left` are left: two vectors, or one where
/// that is enough.
pub(super) struct PanelWidth {
    pub(super) left: usize,
}

impl WithSimd for PanelWidth {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        if self.left <= S::F32_LANES { S::F32_LANES } else { 2 * S::F32_LANES }
    }
}

/// For each pixel `j`: `out[out_offsets[j] + c] = sum over runs and values x * weight`.
pub(super) struct GatherSum<'a> {
    /// Source images with margins.
    pub(super) x: &'a [f32],
    pub(super) in_offsets: &'a [usize],
    pub(super) out_offsets: &'a [usize],
    pub(super) runs: &'a [Run],
    /// Panels of packed weights: value by value of the runs, a panel's columns.
    pub(super) panels: &'a [f32],
    /// Output channels of this group, and the first of them.
    pub(super) n_cols: usize,
    pub(super) first_col: usize,
    pub(super) out: &'a mut [f32],
}

impl WithSimd for GatherSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let n_values: usize = self.runs.iter().map(|run| run.len).sum();
        let reach = self.runs.iter().map(|run| run.start + run.len).max().unwrap_or(0);
        let furthest = self.in_offsets.iter().max().map_or(0, |offset| offset + reach);
        assert!(reach == 0 || furthest <= self.x.len(), "a window ends behind the source");
        let panels = self.panels;
        let (mut col, mut start) = (0, 0);
        while col < self.n_cols {
            let width = PanelWidth { left: self.n_cols - col }.with_simd(simd);
            let panel = &panels[start..][..n_values * width];
            let n_cols = width.min(self.n_cols - col);
            if width == S::F32_LANES {
                self.panel::<S, 1>(simd, panel, (col, n_cols));
            } else {
                self.panel::<S, 2>(simd, panel, (col, n_cols));
            }
            col += width;
            start += panel.len();
        }
    }
}

impl GatherSum<'_> {
    #[inline(always)]
    fn panel<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        panel: &[f32],
        (col, n_cols): (usize, usize),
    ) {
        let step = height::<S, V>();
        let (in_offsets, out_offsets) = (self.in_offsets, self.out_offsets);
        let col = self.first_col + col;
        for (from, to) in in_offsets.chunks(step).zip(out_offsets.chunks(step)) {
            constant!(R = from.len(), height::<S, V>(), {
                let (Some(from), Some(to)) = (from.first_chunk(), to.first_chunk()) else { return };
                self.tile::<S, R, V>(simd, (from, to), panel, (col, n_cols));
            });
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        (from, to): (&[usize; R], &[usize; R]),
        panel: &[f32],
        (col, n_cols): (usize, usize),
    ) {
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        let mut weights = S::as_simd_f32s(panel).0;
        for run in self.runs {
            let (of_run, rest) = weights.split_at(run.len * V);
            // Opaque between runs: the compiler would else shuffle all registers in the inner loop.
            self.add_run(simd, (from, *run), of_run, std::hint::black_box(&mut sums));
            weights = rest;
        }
        for (sum, to) in sums.iter().zip(to) {
            store::<S, V>(*sum, &mut self.out[to + col..][..n_cols]);
        }
    }

    /// Adds one run's part to the sums of `R` pixels and `V` vectors of channels.
    #[inline(always)]
    fn add_run<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        (places, run): (&[usize; R], Run),
        weights: &[S::f32s],
        sums: &mut [[S::f32s; V]; R],
    ) {
        let mut local = *sums;
        let places = *places;
        for (i, weights) in weights.chunks_exact(V).enumerate() {
            for r in 0..R {
                #[expect(unsafe_code, reason = "bounds checks would cost more than the sums")]
                // SAFETY: place + run.start + run.len <= x.len(), asserted by the caller.
                let value = unsafe { *self.x.as_ptr().add(run.start + i).add(places[r]) };
                let value = simd.splat_f32s(value);
                for v in 0..V {
                    local[r][v] = simd.mul_add_f32s(value, weights[v], local[r][v]);
                }
            }
        }
        *sums = local;
    }
}

/// Adds to `out[k][o]`, for all values `k` of the runs and the output channels `o` of `cols`, the
/// sum over pixels of `x[in_offsets[pixel] + k] * g[pixel][o]`.
pub(super) struct WeightSum<'a> {
    /// Source images with margins.
    pub(super) x: &'a [f32],
    pub(super) in_offsets: &'a [usize],
    pub(super) runs: &'a [Run],
    /// Gradient of the output, `n_channels` for each pixel.
    pub(super) g: &'a [f32],
    pub(super) n_channels: usize,
    /// First output channel, and how many.
    pub(super) cols: (usize, usize),
    /// `(values of the runs, cols.1)`.
    pub(super) out: &'a mut [f32],
    /// As many values, in which sums over strips of pixels are continued.
    pub(super) so_far: &'a mut [f32],
}

impl WithSimd for WeightSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let reach = self.runs.iter().map(|run| run.start + run.len).max().unwrap_or(0);
        let furthest = self.in_offsets.iter().max().map_or(0, |offset| offset + reach);
        assert!(furthest <= self.x.len(), "a window ends behind the source");
        assert!(self.in_offsets.len() * self.n_channels <= self.g.len());
        assert!(self.cols.0 + self.cols.1 <= self.n_channels);
        let strip = self.strip();
        if self.in_offsets.len() <= strip {
            return self.pixels(simd, self.in_offsets, self.g, None);
        }
        let so_far = std::mem::take(&mut self.so_far);
        assert_eq!(so_far.len(), self.out.len());
        so_far.fill(0.0);
        let (in_offsets, g) = (self.in_offsets, self.g);
        for (in_offsets, g) in in_offsets.chunks(strip).zip(g.chunks(strip * self.n_channels)) {
            self.pixels(simd, in_offsets, g, Some(so_far));
        }
        self.out.iter_mut().zip(so_far).for_each(|(out, sum)| *out += *sum);
    }
}

/// Values of a strip of pixels, source and gradient together, and its least number of pixels.
const STRIP: usize = 1 << 13;
const MIN_STRIP: usize = 64;

impl WeightSum<'_> {
    /// Pixels that are taken together, so that they stay in the cache for all tiles: where windows
    /// overlap they do so anyway, and sums of many weights would take their place.
    fn strip(&self) -> usize {
        match self.runs {
            [run] => MIN_STRIP.max(STRIP / (run.len + self.n_channels)),
            _ => self.in_offsets.len(),
        }
    }

    /// The sums over some of the pixels: added to `so_far`, or else to the output.
    #[inline(always)]
    fn pixels<S: Simd>(
        &mut self,
        simd: S,
        in_offsets: &[usize],
        g: &[f32],
        mut so_far: Option<&mut [f32]>,
    ) {
        let mut col = 0;
        while col < self.cols.1 {
            let left = self.cols.1 - col;
            let so_far = so_far.as_deref_mut();
            if left >= 2 * S::F32_LANES {
                self.columns::<S, 2>(simd, (in_offsets, g), (col, 2 * S::F32_LANES), so_far);
                col += 2 * S::F32_LANES;
            } else {
                let n_cols = left.min(S::F32_LANES);
                self.columns::<S, 1>(simd, (in_offsets, g), (col, n_cols), so_far);
                col += S::F32_LANES;
            }
        }
    }

    #[inline(always)]
    fn columns<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        pixels: (&[usize], &[f32]),
        (col, n_cols): (usize, usize),
        mut so_far: Option<&mut [f32]>,
    ) {
        let mut first = 0;
        for run in self.runs {
            // Of one height nearly: a low tile's sums are too few to be formed side by side.
            let step = run.len.div_ceil(run.len.div_ceil(height::<S, V>()));
            for start in (0..run.len).step_by(step) {
                let n_rows = step.min(run.len - start);
                constant!(R = n_rows, height::<S, V>(), {
                    let at = (run.start + start, col, n_cols);
                    let place = |r: usize| (first + start + r) * self.cols.1 + col;
                    let mut sums = [[simd.splat_f32s(0.0); V]; R];
                    if let Some(so_far) = &so_far {
                        for r in 0..R {
                            sums[r] = load::<S, V>(simd, &so_far[place(r)..][..n_cols]);
                        }
                    }
                    let sums = self.sums::<S, R, V>(simd, pixels, at, sums);
                    for r in 0..R {
                        match &mut so_far {
                            Some(to) => store::<S, V>(sums[r], &mut to[place(r)..][..n_cols]),
                            None => {
                                add::<S, V>(simd, sums[r], &mut self.out[place(r)..][..n_cols]);
                            }
                        }
                    }
                });
            }
            first += run.len;
        }
    }

    /// The sums of `R` values from `start` on and `V` vectors of output channels, which continue
    /// `sums`.
    #[expect(clippy::needless_range_loop, reason = "an iterator would take the sums' address")]
    #[inline(always)]
    fn sums<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        (in_offsets, g_of_all): (&[usize], &[f32]),
        (start, col, n_cols): (usize, usize, usize),
        mut sums: [[S::f32s; V]; R],
    ) -> [[S::f32s; V]; R] {
        let col = self.cols.0 + col;
        for (pixel, place) in in_offsets.iter().enumerate() {
            let g = pixel * self.n_channels + col;
            #[expect(unsafe_code, reason = "bounds checks would cost more than the sums")]
            // SAFETY: the caller asserted that every pixel's channels lie within `g`, and that
            // place + start + R, which is at most place + reach, lies within `x`.
            let (g, x) = unsafe {
                (g_of_all.get_unchecked(g..g + n_cols), self.x.as_ptr().add(place + start))
            };
            let g = load::<S, V>(simd, g);
            for r in 0..R {
                #[expect(unsafe_code, reason = "as above")]
                // SAFETY: as above.
                let value = simd.splat_f32s(unsafe { *x.add(r) });
                for v in 0..V {
                    sums[r][v] = simd.mul_add_f32s(value, g[v], sums[r][v]);
                }
            }
        }
        sums
    }
}

#[inline(always)]
fn load<S: Simd, const V: usize>(simd: S, from: &[f32]) -> [S::f32s; V] {
    let (vectors, tail) = S::as_simd_f32s(from);
    match <&[S::f32s; V]>::try_from(vectors) {
        Ok(vectors) => *vectors,
        Err(_) => {
            let mut all = [simd.splat_f32s(0.0); V];
            all[0] = simd.partial_load_f32s(tail);
            all
        }
    }
}

#[inline(always)]
pub(super) fn store<S: Simd, const V: usize>(values: [S::f32s; V], to: &mut [f32]) {
    let (vectors, _) = S::as_mut_simd_f32s(to);
    if let Ok(vectors) = <&mut [S::f32s; V]>::try_from(vectors) {
        *vectors = values;
    } else {
        to.copy_from_slice(&bytemuck::cast_slice(&values)[..to.len()]);
    }
}

#[inline(always)]
fn add<S: Simd, const V: usize>(simd: S, sum: [S::f32s; V], to: &mut [f32]) {
    let (vectors, _) = S::as_mut_simd_f32s(to);
    if let Ok(vectors) = <&mut [S::f32s; V]>::try_from(vectors) {
        for (to, sum) in vectors.iter_mut().zip(sum) {
            *to = simd.add_f32s(*to, sum);
        }
    } else {
        let sums: &[f32] = bytemuck::cast_slice(&sum);
        to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
    }
}
