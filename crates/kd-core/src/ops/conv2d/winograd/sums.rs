//! A convolution, or its input gradient, by transformed weights.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::blocks::{LINE, with_buffer};
use super::super::geometry::{Gather, Geometry, Padded};
use super::super::pack::{Direction, pack, panel_columns};
use super::super::tile::MAX_HEIGHT;
use super::transform::{IN, OUT, POINTS, TAPS, inputs, outputs, weights};
use super::{LANES, Tiling, at_points, suits};
use crate::act::Buffer;
use crate::simd::dispatch;

/// Tiles that are transformed and multiplied together: whole tiles of the inner loop.
const CHUNK: usize = 2 * MAX_HEIGHT;
/// Output channels whose products are in the cache together.
const COLS: usize = 64;
/// Tiles that a task has at least: the transformed weights are read once for each chunk.
const TASK: usize = 64;

/// A convolution, or its input gradient, by transformed weights.
#[derive(Debug)]
pub(in super::super) struct Winograd {
    n_in: usize,
    n_out: usize,
    tiling: Tiling,
    /// Margins of the source.
    padded: Padded,
    /// First column, columns, and place of the weights of each panel.
    panels: Vec<Panel>,
    /// Panel by panel and point by point, a row for each input channel.
    weights: Buffer,
    /// Where they begin a line of the cache.
    start: usize,
}

/// The weights to as many output channels as a tile of the inner loop has columns.
#[derive(Debug, Clone, Copy)]
struct Panel {
    first_col: usize,
    width: usize,
    start: usize,
}

impl Winograd {
    /// Transforms the weights, if the convolution is one that this way is for.
    pub(in super::super) fn new(
        geometry: &Geometry,
        gather: &Gather,
        weight: &[f32],
        direction: Direction,
    ) -> Option<Self> {
        if !suits(geometry, direction) {
            return None;
        }
        let (n_in, n_out) = match direction {
            Direction::Forward => (geometry.channels, geometry.out_channels),
            Direction::Backward => (geometry.out_channels, geometry.channels),
        };
        let packed = pack(geometry, gather, weight, (direction, 0));
        let tiling = Tiling::new(gather.size);
        let mut panels = Vec::new();
        let mut len = 0;
        for (first_col, width) in panel_columns(n_out) {
            panels.push(Panel { first_col, width, start: len });
            len += POINTS * point_len(n_in, width);
        }
        let mut weights = Buffer::take(at_points(n_in, n_out));
        let start = weights.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        let mut rest = &mut weights[start..start + len];
        let mut packed = &packed[..];
        let mut tasks = Vec::new();
        for panel in &panels {
            let (to, after) = rest.split_at_mut(POINTS * point_len(n_in, panel.width));
            let (from, after_from) = packed.split_at(TAPS * TAPS * n_in * panel.width);
            tasks.push(Weights { from, n_rows: n_in, width: panel.width, to });
            (rest, packed) = (after, after_from);
        }
        tasks.into_par_iter().for_each(|task| dispatch(task));
        let padded = tiling.padded(gather.source);
        Some(Self { n_in, n_out, tiling, padded, panels, weights, start })
    }

    /// Gives the source the margins that tiles read.
    pub(in super::super) fn extend(&self, gather: &mut Gather) {
        gather.source = self.padded;
        gather.reach = IN;
    }

    /// Rows of a tile; tiles of a task, at least, and of an image.
    pub(in super::super) fn least(&self) -> (usize, usize, usize) {
        (OUT, TASK, self.tiling.len())
    }

    /// The outputs of so many images and rows of each, from the first row of a tile on, to `out`; `x` is
    /// what they read, with margins.
    pub(in super::super) fn apply(
        &self,
        x: &[f32],
        (n_images, n_rows): (usize, usize),
        out: &mut [f32],
    ) {
        let tiling = Tiling::new([n_rows, self.tiling.size[1]]);
        let image_len = x.len() / n_images.max(1);
        let n_read = tiling.tiles[0] * OUT + IN - OUT;
        assert!(self.padded.offset([n_read, 0]) <= image_len, "a tile ends behind the source");
        assert_eq!(out.len(), n_images * n_rows * tiling.size[1] * self.n_out);
        let cols = self.n_out.min(COLS.max(2 * LANES));
        with_buffer(POINTS * slab(self.n_in), |v| {
            with_buffer(POINTS * slab(cols), |m| {
                let n_tiles = n_images * tiling.len();
                dispatch(Apply { sums: self, tiling, n_tiles, image_len, x, v, m, out });
            });
        });
    }
}

/// Values from one point's weights to the next: the same row of all points then falls into
/// different sets of the first-level cache.
fn point_len(n_rows: usize, width: usize) -> usize {
    n_rows * width + LINE
}

/// The same for the inputs or products of a chunk of tiles.
fn slab(n_channels: usize) -> usize {
    CHUNK * n_channels + 5 * LINE
}

/// `to[point] = G g G^T`.
struct Weights<'a> {
    /// A row of `width` for each tap and input channel.
    from: &'a [f32],
    n_rows: usize,
    width: usize,
    to: &'a mut [f32],
}

impl WithSimd for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { from, n_rows, width, to } = self;
        let point_len = point_len(n_rows, width);
        assert!(from.len() >= TAPS * TAPS * n_rows * width && to.len() >= POINTS * point_len);
        for first in (0..n_rows * width).step_by(S::F32_LANES) {
            #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
            // SAFETY: a vector from `first` on is within a tap's n_rows rows of width values, and
            // the assert says that so many lie in `from` and, for each point, in `to`.
            unsafe {
                let from = from.as_ptr().add(first);
                let to = to.as_mut_ptr().add(first);
                let mut half = [[simd.splat_f32s(0.0); IN]; TAPS];
                for col in 0..TAPS {
                    let mut g = [simd.splat_f32s(0.0); TAPS];
                    for row in 0..TAPS {
                        g[row] = read::<S>(from.add((row * TAPS + col) * n_rows * width));
                    }
                    half[col] = weights(simd, g);
                }
                for row in 0..IN {
                    let u = weights(simd, [half[0][row], half[1][row], half[2][row]]);
                    for col in 0..IN {
                        write::<S>(to.add((row * IN + col) * point_len), u[col]);
                    }
                }
            }
        }
    }
}

/// Chunk by chunk of tiles: inputs at the points, products, outputs.
struct Apply<'a> {
    sums: &'a Winograd,
    /// How the rows of each image fall into tiles.
    tiling: Tiling,
    n_tiles: usize,
    /// Values of the source of an image.
    image_len: usize,
    x: &'a [f32],
    v: &'a mut [f32],
    m: &'a mut [f32],
    out: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let n_tiles = self.n_tiles;
        // Chunks of equal size.
        let n_chunks = n_tiles.div_ceil(CHUNK).max(1);
        let chunk = n_tiles.div_ceil(n_chunks).next_multiple_of(MAX_HEIGHT / 2).min(CHUNK);
        for first in (0..n_tiles).step_by(chunk.max(1)) {
            let tiles = (first, chunk.min(n_tiles - first));
            self.inputs(simd, tiles);
            let mut panel = 0;
            while panel < self.sums.panels.len() {
                let first_col = self.sums.panels[panel].first_col;
                let mut n_cols = 0;
                let of_block = panel;
                while let Some(next) = self.sums.panels.get(panel) {
                    if n_cols > 0 && n_cols + next.width > COLS {
                        break;
                    }
                    n_cols += next.width;
                    panel += 1;
                }
                self.products(simd, tiles.1, (of_block, panel), n_cols);
                self.outputs(simd, tiles, (first_col, n_cols));
            }
        }
    }
}

impl Apply<'_> {
    #[inline(always)]
    fn inputs<S: Simd>(&mut self, simd: S, (first, n): (usize, usize)) {
        let Winograd { n_in, padded, .. } = *self.sums;
        let tiling = self.tiling;
        let (row, slab) = (padded.offset([1, 0]), slab(n_in));
        for t in 0..n {
            let (image, place) = tiling.place(first + t);
            let place = image * self.image_len + padded.offset(place);
            for c in (0..n_in).step_by(S::F32_LANES) {
                #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
                // SAFETY: each image of `x` has all pixels of its tiles (asserted by `apply`); n_in is
                // whole vectors; `v` has a slab for each point.
                unsafe {
                    let from = self.x.as_ptr().add(place + c);
                    let to = self.v.as_mut_ptr().add(t * n_in + c);
                    let mut half = [[simd.splat_f32s(0.0); IN]; IN];
                    for x in 0..IN {
                        let mut d = [simd.splat_f32s(0.0); IN];
                        for y in 0..IN {
                            d[y] = read::<S>(from.add(y * row + x * n_in));
                        }
                        half[x] = inputs(simd, d);
                    }
                    for y in 0..IN {
                        let mut d = [simd.splat_f32s(0.0); IN];
                        for x in 0..IN {
                            d[x] = half[x][y];
                        }
                        let v = inputs(simd, d);
                        for x in 0..IN {
                            write::<S>(to.add((y * IN + x) * slab), v[x]);
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn products<S: Simd>(
        &mut self,
        simd: S,
        n_tiles: usize,
        (first, end): (usize, usize),
        n_cols: usize,
    ) {
        let Winograd { n_in, ref panels, ref weights, start, .. } = *self.sums;
        let first_col = panels[first].first_col;
        for point in 0..POINTS {
            for panel in &panels[first..end] {
                let weights = &weights
                    [start + panel.start + point * point_len(n_in, panel.width)..]
                    [..n_in * panel.width];
                let v = &self.v[point * slab(n_in)..][..slab(n_in)];
                let m = &mut self.m[point * slab(n_cols)..][..CHUNK * n_cols];
                let m = &mut m[panel.first_col - first_col..];
                let (v, weights) = ((v, n_in), (weights, panel.width));
                if panel.width == S::F32_LANES {
                    rows::<S, 1>(simd, n_tiles, v, weights, (m, n_cols));
                } else {
                    rows::<S, 2>(simd, n_tiles, v, weights, (m, n_cols));
                }
            }
        }
    }

    #[inline(always)]
    fn outputs<S: Simd>(
        &mut self,
        simd: S,
        (first, n): (usize, usize),
        (col, n_cols): (usize, usize),
    ) {
        let (n_out, tiling) = (self.sums.n_out, self.tiling);
        let [height, width] = tiling.size;
        let slab = slab(n_cols);
        for t in 0..n {
            let (image, [y0, x0]) = tiling.place(first + t);
            let place = ((image * height + y0) * width + x0) * n_out + col;
            let (n_rows, n_pixels) = (OUT.min(height - y0), OUT.min(width - x0));
            for c in (0..n_cols).step_by(S::F32_LANES) {
                #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
                // SAFETY: n_cols is whole vectors; `m` has a slab of so many columns for each
                // point, and the pixels lie within an image's rows, which `out` has (asserted by `apply`).
                unsafe {
                    let from = self.m.as_ptr().add(t * n_cols + c);
                    let to = self.out.as_mut_ptr().add(place + c);
                    let mut half = [[simd.splat_f32s(0.0); OUT]; IN];
                    for x in 0..IN {
                        let mut m = [simd.splat_f32s(0.0); IN];
                        for y in 0..IN {
                            m[y] = read::<S>(from.add((y * IN + x) * slab));
                        }
                        half[x] = outputs(simd, m);
                    }
                    for y in 0..OUT {
                        let mut m = [simd.splat_f32s(0.0); IN];
                        for x in 0..IN {
                            m[x] = half[x][y];
                        }
                        let values = outputs(simd, m);
                        for x in 0..OUT {
                            if y < n_rows && x < n_pixels {
                                write::<S>(to.add((y * width + x) * n_out), values[x]);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `out[row] = v[row] weights`, for rows of `n_in` values and one panel of weights, `V` vectors at a
/// time; whole tiles, with what lies behind the last row.
#[inline(always)]
fn rows<S: Simd, const V: usize>(
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

#[inline(always)]
#[expect(unsafe_code, reason = "bounds checks would cost more than the sums")]
/// # Safety
/// `v` has `R` rows of `n_in` values; `weights` and `out` have `V` vectors in each of n_in and of `R`
/// rows, which are `width` and `n_cols` values apart.
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

#[inline(always)]
#[expect(unsafe_code, reason = "vectors lie anywhere")]
/// # Safety
/// A vector lies at `from`.
pub(super) unsafe fn read<S: Simd>(from: *const f32) -> S::f32s {
    // SAFETY: asked of the caller.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

#[inline(always)]
#[expect(unsafe_code, reason = "vectors lie anywhere")]
/// # Safety
/// A vector lies at `to`.
pub(super) unsafe fn write<S: Simd>(to: *mut f32, value: S::f32s) {
    // SAFETY: asked of the caller.
    unsafe { to.cast::<S::f32s>().write_unaligned(value) }
}
