//! A convolution, or its input gradient, by transformed weights.

use pulp::{Simd, WithSimd};

use super::super::geometry::{Gather, Geometry, Padded};
use super::super::pack::{Direction, pack, panel_columns};
use super::super::tile::MAX_HEIGHT;
use super::points::{Weights, point_len};
use super::products::rows;
use super::transform::{IN, Inputs, OUT, Outputs, POINTS, TAPS, square};
use super::{LANES, Tiling, at_points, suits};
use crate::act::Buffer;
use crate::scratch::{LINE, line_start, with_buffer};
use crate::simd::dispatch;
use crate::tasks::each;

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
        let start = line_start(&weights);
        let mut rest = &mut weights[start..start + len];
        let mut packed = &packed[..];
        let mut tasks = Vec::new();
        for panel in &panels {
            let (to, after) = rest.split_at_mut(POINTS * point_len(n_in, panel.width));
            let (from, after_from) = packed.split_at(TAPS * TAPS * n_in * panel.width);
            tasks.push(Weights { from, n_rows: n_in, width: panel.width, to });
            (rest, packed) = (after, after_from);
        }
        each(tasks.into_iter(), dispatch);
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

/// Values of the inputs or products of a chunk of tiles at one point: the same tile at all points then
/// falls into different sets of the first-level cache.
fn slab(n_channels: usize) -> usize {
    CHUNK * n_channels + 5 * LINE
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
                    let from = (self.x.as_ptr().add(place + c), [row, n_in]);
                    let to = (self.v.as_mut_ptr().add(t * n_in + c), [IN * slab, slab]);
                    square::<S, Inputs, IN, IN>(simd, from, to, [IN; 2]);
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
            let inside = [height - y0, width - x0];
            for c in (0..n_cols).step_by(S::F32_LANES) {
                #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
                // SAFETY: n_cols is whole vectors; `m` has a slab of so many columns for each
                // point, and the pixels lie within an image's rows, which `out` has (asserted by `apply`).
                unsafe {
                    let from = (self.m.as_ptr().add(t * n_cols + c), [IN * slab, slab]);
                    let to = (self.out.as_mut_ptr().add(place + c), [width * n_out, n_out]);
                    square::<S, Outputs, IN, OUT>(simd, from, to, inside);
                }
            }
        }
    }
}
