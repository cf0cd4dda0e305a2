//! 3x3 windows at stride 1 with 4 multiplications for each output instead of 9.
//!
//! Winograd's F(2x2, 3x3) (Lavin, Gray 2015): 4x4 input values `d` and 3x3 weights `g` give 2x2
//! outputs `A^T [(G g G^T) . (B^T d B)] A`; the product in the middle is, over all tiles and
//! channels, sixteen matrix products. The transforms add and halve only, so that the rounding
//! stays that of the direct sum within a small factor.

use std::cell::Cell;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::geometry::{Geometry, Padded, Run};
use super::pack::{Direction, panel_columns};
use super::tile::GatherSum;

/// Values of a transformed tile.
const N: usize = 16;
/// Tiles that are transformed and multiplied together.
const CHUNK: usize = 60;
/// Channels are taken in whole vectors of any processor.
const LANES: usize = 16;

/// Below so many channels the transforms cost more than the products save.
const MIN_CHANNELS: usize = 64;
/// Above so many, the transformed weights leave the cache.
const MAX_WEIGHTS: usize = 1 << 16;

/// A convolution, or its input gradient, by transformed weights.
pub(super) struct Winograd {
    panels: Vec<Panel>,
    n_in: usize,
    n_out: usize,
    /// Height and width of the output.
    out_size: [usize; 2],
}

/// The weights to as many output channels as a tile of the inner loop has columns.
struct Panel {
    first_col: usize,
    n_cols: usize,
    /// For each of the sixteen products, a row for each input channel.
    weights: Vec<f32>,
}

impl Winograd {
    /// Transforms the weights, if the convolution is one that this way is for.
    pub(super) fn new(geometry: &Geometry, weight: &[f32], direction: Direction) -> Option<Self> {
        let (n_in, n_out, out_size) = match direction {
            Direction::Forward => (geometry.channels, geometry.out_channels, geometry.out_size),
            Direction::Backward => (geometry.out_channels, geometry.channels, geometry.size),
        };
        let whole = |n: usize, of: usize| n.is_multiple_of(of);
        let suits = geometry.kernel == [3, 3]
            && (geometry.conv.stride, geometry.conv.dilation) == ([1; 2], [1; 2])
            && geometry.conv.groups == 1
            && geometry.conv.padding.iter().all(|zeros| *zeros <= 2)
            && (whole(n_in, LANES) && whole(n_out, LANES))
            && (n_in.min(n_out) >= MIN_CHANNELS && n_in * n_out <= MAX_WEIGHTS)
            && (whole(out_size[0], 2) && whole(out_size[1], 2));
        if !suits {
            return None;
        }
        let panel = |(first_col, width): (usize, usize)| {
            let n_cols = width.min(n_out - first_col);
            let mut weights = vec![0.0; N * n_in * width];
            for row in 0..n_in {
                for col in 0..n_cols {
                    let window =
                        window(weight, geometry.channels, (row, first_col + col), direction);
                    for (i, value) in transform_weights(window).into_iter().enumerate() {
                        weights[(i * n_in + row) * width + col] = value;
                    }
                }
            }
            Panel { first_col, n_cols, weights }
        };
        let panels = panel_columns(n_out).into_par_iter().map(panel).collect();
        Some(Self { panels, n_in, n_out, out_size })
    }

    /// Images that have enough tiles to use the transformed weights well.
    pub(super) fn images_per_block(&self) -> usize {
        (2 * CHUNK).div_ceil(self.out_size[0] * self.out_size[1] / 4)
    }

    /// The outputs of the images `x`, which have margins, to `out`.
    pub(super) fn apply(&self, padded: Padded, x: &[f32], out: &mut [f32]) {
        let tiles = self.out_size.map(|side| side / 2);
        let per_image = tiles[0] * tiles[1];
        let n_tiles = out.len() / (self.out_size[0] * self.out_size[1] * self.n_out) * per_image;
        let place = |tile: usize| Tile {
            image: tile / per_image,
            row: tile % per_image / tiles[1] * 2,
            col: tile % tiles[1] * 2,
        };
        let (from, to) = (places(self.n_in), places(self.n_out));
        let (mut v, mut m) = (V.take(), M.take());
        for first in (0..n_tiles).step_by(CHUNK) {
            let tiles: Vec<Tile> = (first..n_tiles.min(first + CHUNK)).map(place).collect();
            let n = tiles.len();
            let slabs = [slab(n, self.n_in), slab(n, self.n_out)];
            v.resize(N * slabs[0], 0.0);
            m.resize(N * slabs[1], 0.0);
            let arch = Arch::new();
            let (tiles, channels) = (&tiles[..], self.n_in);
            arch.dispatch(Input { padded, x, tiles, channels, v: &mut v });
            let products = v.chunks_exact(slabs[0]).zip(m.chunks_exact_mut(slabs[1]));
            for (i, (x, out)) in products.enumerate() {
                for Panel { first_col, n_cols, weights } in &self.panels {
                    let len = weights.len() / N;
                    arch.dispatch(GatherSum {
                        x,
                        in_offsets: &from[..n],
                        out_offsets: &to[..n],
                        runs: &[Run { start: 0, len: self.n_in }],
                        panels: &weights[i * len..][..len],
                        n_cols: *n_cols,
                        first_col: *first_col,
                        out,
                    });
                }
            }
            let (size, channels) = (self.out_size, self.n_out);
            arch.dispatch(Output { m: &m, tiles, size, channels, out });
        }
        V.set(v);
        M.set(m);
    }
}

thread_local! {
    /// Transformed inputs and products of a chunk of tiles, kept from call to call.
    static V: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static M: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Values from one product's matrix to the next: not a multiple of the size of a memory page, or
/// a tile's sixteen values would all fall into the same set of the first-level cache.
fn slab(n_tiles: usize, n_channels: usize) -> usize {
    n_tiles * n_channels + 5 * LANES
}

/// Where the rows of a matrix of `n_cols` columns begin.
fn places(n_cols: usize) -> Vec<usize> {
    (0..CHUNK).map(|row| row * n_cols).collect()
}

/// The window from the source channel `row` to the output channel `col`.
fn window(
    weight: &[f32],
    n_channels: usize,
    (row, col): (usize, usize),
    direction: Direction,
) -> [f32; 9] {
    let at = |o: usize, c: usize| &weight[(o * n_channels + c) * 9..][..9];
    match direction {
        Direction::Forward => {
            let window = at(col, row);
            std::array::from_fn(|i| window[i])
        }
        // The gradient's windows are mirrored.
        Direction::Backward => {
            let window = at(row, col);
            std::array::from_fn(|i| window[8 - i])
        }
    }
}

/// `G g G^T`.
fn transform_weights(g: [f32; 9]) -> [f32; N] {
    let column = |[a, b, c]: [f32; 3]| [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c];
    let half = [0, 1, 2].map(|col| column([g[col], g[3 + col], g[6 + col]]));
    let rows = [0, 1, 2, 3].map(|row| column(half.map(|column| column[row])));
    std::array::from_fn(|i| rows[i / 4][i % 4])
}

/// A tile's image, and the row and column of its first output pixel, which are also those of its
/// first input pixel within the margins.
#[derive(Debug, Clone, Copy)]
struct Tile {
    image: usize,
    row: usize,
    col: usize,
}

/// `v[product][tile] = B^T d B`.
struct Input<'a> {
    padded: Padded,
    x: &'a [f32],
    tiles: &'a [Tile],
    channels: usize,
    v: &'a mut [f32],
}

impl WithSimd for Input<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let n_channels = self.channels;
        let slab = slab(self.tiles.len(), n_channels) / S::F32_LANES;
        let (v, _) = S::as_mut_simd_f32s(self.v);
        for (t, tile) in self.tiles.iter().enumerate() {
            let image = &self.x[tile.image * self.padded.len()..][..self.padded.len()];
            let rows: [&[S::f32s]; N] = std::array::from_fn(|i| {
                let pixel = self.padded.offset([tile.row + i / 4, tile.col + i % 4]);
                S::as_simd_f32s(&image[pixel..][..n_channels]).0
            });
            for c in 0..n_channels / S::F32_LANES {
                let d: [S::f32s; N] = std::array::from_fn(|i| rows[i][c]);
                let d = transform_input(simd, transform_input(simd, d));
                for i in 0..N {
                    v[i * slab + t * (n_channels / S::F32_LANES) + c] = d[i];
                }
            }
        }
    }
}

/// `(B^T d)^T`: applied twice, it is `B^T d B`.
#[inline(always)]
fn transform_input<S: Simd>(simd: S, d: [S::f32s; N]) -> [S::f32s; N] {
    let mut t = d;
    for col in 0..4 {
        let column: [S::f32s; 4] = std::array::from_fn(|row| d[row * 4 + col]);
        t[col * 4] = simd.sub_f32s(column[0], column[2]);
        t[col * 4 + 1] = simd.add_f32s(column[1], column[2]);
        t[col * 4 + 2] = simd.sub_f32s(column[2], column[1]);
        t[col * 4 + 3] = simd.sub_f32s(column[1], column[3]);
    }
    t
}

/// `A^T m A` of each tile, to its 2x2 pixels.
struct Output<'a> {
    m: &'a [f32],
    tiles: &'a [Tile],
    size: [usize; 2],
    channels: usize,
    out: &'a mut [f32],
}

impl WithSimd for Output<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [height, width] = self.size;
        let n_vectors = self.channels / S::F32_LANES;
        let slab = slab(self.tiles.len(), self.channels) / S::F32_LANES;
        let (m, _) = S::as_simd_f32s(self.m);
        let (out, _) = S::as_mut_simd_f32s(self.out);
        for (t, tile) in self.tiles.iter().enumerate() {
            let first = ((tile.image * height + tile.row) * width + tile.col) * n_vectors;
            for c in 0..n_vectors {
                let m: [S::f32s; N] = std::array::from_fn(|i| m[i * slab + t * n_vectors + c]);
                let half: [S::f32s; 8] = transform_output(simd, m);
                let y: [S::f32s; 4] = transform_output(simd, half);
                out[first + c] = y[0];
                out[first + n_vectors + c] = y[1];
                out[first + width * n_vectors + c] = y[2];
                out[first + (width + 1) * n_vectors + c] = y[3];
            }
        }
    }
}

/// `(A^T m)^T` for m of four rows: applied twice, it is `A^T m A`.
#[inline(always)]
fn transform_output<S: Simd, const FROM: usize, const TO: usize>(
    simd: S,
    m: [S::f32s; FROM],
) -> [S::f32s; TO] {
    let n_cols = FROM / 4;
    let mut y = [simd.splat_f32s(0.0); TO];
    for col in 0..n_cols {
        let column: [S::f32s; 4] = std::array::from_fn(|row| m[row * n_cols + col]);
        let both = simd.add_f32s(column[1], column[2]);
        let difference = simd.sub_f32s(column[1], column[2]);
        y[col * 2] = simd.add_f32s(column[0], both);
        y[col * 2 + 1] = simd.sub_f32s(difference, column[3]);
    }
    y
}
