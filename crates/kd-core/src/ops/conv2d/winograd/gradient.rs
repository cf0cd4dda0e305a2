//! The gradient of the weights by transformed inputs and gradients.
//!
//! Key decision: where channels are few, tasks take some of the tiles, each with sums of its own.
//! Where they are many, there is one copy of the sums, and tasks take some of the points instead,
//! round by round of tiles. Either way products are summed in the order of the tiles, in parts that
//! depend on the sizes only.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::super::blocks::{LINE, with_rows};
use super::super::geometry::{Geometry, Padded};
use super::sums::{read, write};
use super::transform::{IN, OUT, POINTS, TAPS, inputs, output_gradients, weight_gradients};
use super::{LANES, Tiling, at_points};
use crate::act::Buffer;
use crate::ops::channels;
use crate::ops::source::Source;
use crate::simd::dispatch;

/// Values at the points of a group of tiles, input and gradient together: they stay in the
/// second-level cache.
const GROUP: usize = 1 << 17;
/// Tiles of a group.
const TILES: (usize, usize) = (32, 64);
/// Values at the points of a round, and its groups, at least.
const ROUND: usize = 1 << 20;
const MIN_ROUND: usize = 4;
/// Sums at the points up to which each task has its own, and such tasks.
const SMALL: usize = 1 << 18;
const TASKS: usize = 16;
/// Values of a square of sums.
const SQUARE: usize = LANES * LANES;

/// Gradient of the weights, `(O, C, 3, 3)`, from the input and the output's gradient.
pub(in super::super) fn grad_weight(x: &Source, grad: &Source, geometry: &Geometry) -> Vec<f32> {
    let groups = Groups::new(geometry);
    let is_small = POINTS * groups.sums_len() <= SMALL;
    let sums = if is_small { groups.by_tasks(x, grad) } else { groups.by_rounds(x, grad) };
    let (n_in, point_len) = (geometry.channels, groups.sums_len());
    let mut weight = vec![0.0; geometry.out_channels * n_in * TAPS * TAPS];
    weight.par_chunks_mut(LANES * n_in * TAPS * TAPS).enumerate().for_each(|(col, weight)| {
        let sums = &sums[col * n_in * LANES..];
        dispatch(Weights { sums, point_len, n_in, weight });
    });
    weight
}

/// The tiles of a batch in groups: those of some images, or some rows of those of one.
struct Groups {
    tiling: Tiling,
    n_images: usize,
    /// Images, or rows of tiles, of a group.
    images: usize,
    rows: usize,
    /// Tiles of a group, at most.
    capacity: usize,
    /// Margins of the input and of the output's gradient.
    padded: [Padded; 2],
}

impl Groups {
    fn new(geometry: &Geometry) -> Self {
        let tiling = Tiling::new(geometry.out_size);
        let [height, width] = tiling.tiles;
        let per_tile = POINTS * (geometry.channels + geometry.out_channels);
        let n_tiles = (GROUP / per_tile).clamp(TILES.0, TILES.1);
        let rows = (n_tiles / width).clamp(1, height);
        let images = if rows == height { (n_tiles / tiling.len()).max(1) } else { 1 };
        let grad = tiling.whole(geometry.output());
        Self {
            tiling,
            n_images: geometry.n,
            images,
            rows,
            capacity: images * rows * width,
            padded: [tiling.padded(geometry.forward().source), grad],
        }
    }

    /// Groups of an image, if it has several.
    fn per_image(&self) -> usize {
        self.tiling.tiles[0].div_ceil(self.rows)
    }

    fn len(&self) -> usize {
        self.n_images.div_ceil(self.images) * self.per_image()
    }

    /// First image and row of tiles of group number `i`, and how many.
    fn place(&self, i: usize) -> ((usize, usize), (usize, usize)) {
        let (images, rows) = (i / self.per_image() * self.images, i % self.per_image() * self.rows);
        let n_images = self.images.min(self.n_images - images);
        ((images, n_images), (rows, self.rows.min(self.tiling.tiles[0] - rows)))
    }

    fn n_tiles(&self, i: usize) -> usize {
        let ((_, n_images), (_, n_rows)) = self.place(i);
        n_images * n_rows * self.tiling.tiles[1]
    }

    /// Values of a group at one point: sixteen channels of all tiles, then the next.
    fn point_len(&self, n_channels: usize) -> usize {
        self.capacity * n_channels + LINE
    }

    /// Values of a group, input and gradient, at all points.
    fn lens(&self) -> [usize; 2] {
        self.padded.map(|padded| POINTS * self.point_len(padded.channels))
    }

    /// Values of the sums at one point: for sixteen output channels the squares with all inputs, then
    /// the next.
    fn sums_len(&self) -> usize {
        self.padded[0].channels * self.padded[1].channels + LINE
    }

    /// Sums at the points, before the first tile.
    fn zeros(&self) -> Buffer {
        let [n_in, n_out] = self.padded.map(|padded| padded.channels);
        Buffer::zeros(at_points(n_in, n_out))
    }

    /// The sums at each point.
    fn points<'v>(&self, sums: &'v mut [f32]) -> impl Iterator<Item = &'v mut [f32]> {
        sums.chunks_exact_mut(self.sums_len()).take(POINTS)
    }

    /// The sums at the points; each task has groups and sums of its own.
    fn by_tasks(&self, x: &Source, grad: &Source) -> Buffer {
        let [len_in, len_out] = self.lens();
        let n_tasks = TASKS.min(self.len()).max(1);
        let task = |task: usize| {
            let mut sums = self.zeros();
            let (mut v, mut g) = (Buffer::take(len_in), Buffer::take(len_out));
            for i in self.len() * task / n_tasks..self.len() * (task + 1) / n_tasks {
                self.transform(i, (x, &mut v), (grad, &mut g));
                for (point, sums) in self.points(&mut sums).enumerate() {
                    for (col, sums) in self.columns(sums).enumerate() {
                        self.sum(point, col, (&v, &g), &[self.n_tiles(i)], sums);
                    }
                }
            }
            sums
        };
        let partials: Vec<Buffer> = (0..n_tasks).into_par_iter().map(task).collect();
        let mut partials = partials.into_iter();
        let mut total = partials.next().unwrap_or_default();
        partials.for_each(|sums| channels::add(&mut total, &sums));
        total
    }

    /// The sums at the points, one copy for all tasks: they transform the groups of a round, and then
    /// add up different points and channels.
    fn by_rounds(&self, x: &Source, grad: &Source) -> Buffer {
        let [len_in, len_out] = self.lens();
        let round = (ROUND / (len_in + len_out)).max(MIN_ROUND).min(self.len().max(1));
        let mut sums = self.zeros();
        let (mut v, mut g) = (Buffer::take(round * len_in), Buffer::take(round * len_out));
        for first in (0..self.len()).step_by(round) {
            let n = round.min(self.len() - first);
            let tasks = v[..n * len_in].par_chunks_mut(len_in).zip(g.par_chunks_mut(len_out));
            tasks.enumerate().for_each(|(i, (v, g))| self.transform(first + i, (x, v), (grad, g)));
            let n_tiles: Vec<usize> = (first..first + n).map(|i| self.n_tiles(i)).collect();
            let len = self.sums_len();
            sums[..POINTS * len].par_chunks_exact_mut(len).enumerate().for_each(|(point, sums)| {
                self.columns(sums).enumerate().for_each(|(col, sums)| {
                    self.sum(point, col, (&v, &g), &n_tiles, sums);
                });
            });
        }
        sums
    }

    /// The sums at one point of sixteen output channels each.
    fn columns<'v>(&self, sums: &'v mut [f32]) -> std::slice::ChunksExactMut<'v, f32> {
        sums.chunks_exact_mut(self.padded[0].channels * LANES)
    }

    /// Adds to `sums`, those of a point and sixteen output channels, what groups of so many tiles
    /// give, of which `v` and `g` are the values at all points.
    fn sum(
        &self,
        point: usize,
        col: usize,
        (v, g): (&[f32], &[f32]),
        n_tiles: &[usize],
        sums: &mut [f32],
    ) {
        let ([len_in, len_out], capacity) = (self.lens(), self.capacity);
        let [from_v, from_g] = self.padded.map(|padded| point * self.point_len(padded.channels));
        let v = (&v[from_v..], len_in);
        let g = (&g[from_g + col * capacity * LANES..], len_out);
        dispatch(Sums { v, g, n_tiles, capacity, sums });
    }

    /// The inputs of group number `i`, and the gradients of its outputs, at all points.
    fn transform(&self, i: usize, (x, v): (&Source, &mut [f32]), (grad, g): (&Source, &mut [f32])) {
        let (images, (row, n_rows)) = self.place(i);
        let size = (n_rows, self.tiling.tiles[1]);
        let from = row * OUT;
        let [padded, padded_grad] = self.padded;
        with_rows(padded, x, images, (from, n_rows * OUT + IN - OUT), |x| {
            let (n_channels, point_len) = (padded.channels, self.point_len(padded.channels));
            let (tiles, capacity) = ((images.1, size), self.capacity);
            let row_len = padded.offset([1, 0]);
            dispatch(Inputs { x, row_len, n_channels, tiles, capacity, point_len, v });
        });
        with_rows(padded_grad, grad, images, (from, n_rows * OUT), |y| {
            let n_channels = padded_grad.channels;
            let point_len = self.point_len(n_channels);
            let (tiles, capacity) = ((images.1, size), self.capacity);
            let row_len = padded_grad.offset([1, 0]);
            dispatch(Outputs { y, row_len, n_channels, tiles, capacity, point_len, g });
        });
    }
}

/// Images, and rows and columns of tiles of each.
type Tiles = (usize, (usize, usize));

/// The inputs `x` of tiles at the points.
struct Inputs<'a> {
    x: &'a [f32],
    row_len: usize,
    n_channels: usize,
    tiles: Tiles,
    capacity: usize,
    point_len: usize,
    v: &'a mut [f32],
}

impl WithSimd for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, row_len, n_channels, tiles: (n_images, (rows, cols)), capacity, .. } = self;
        let image_len = (rows * OUT + IN - OUT) * row_len;
        assert!(n_images * image_len <= x.len() && n_images * rows * cols <= capacity);
        assert!((cols * OUT + IN - OUT) * n_channels <= row_len);
        assert!(POINTS * self.point_len <= self.v.len());
        assert!(capacity * n_channels <= self.point_len && n_channels.is_multiple_of(LANES));
        for t in 0..n_images * rows * cols {
            let (image, tile) = (t / (rows * cols), t % (rows * cols));
            let (y, x0) = (tile / cols * OUT, tile % cols * OUT);
            let place = image * image_len + y * row_len + x0 * n_channels;
            for c in (0..n_channels).step_by(S::F32_LANES) {
                #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
                // SAFETY: the asserts above: tiles lie within the images, which lie within `x`, and
                // sixteen channels of all tiles within a point's values.
                unsafe {
                    let from = x.as_ptr().add(place + c);
                    let to = c / LANES * capacity * LANES + t * LANES + c % LANES;
                    let to = self.v.as_mut_ptr().add(to);
                    let mut half = [[simd.splat_f32s(0.0); IN]; IN];
                    for x in 0..IN {
                        let mut d = [simd.splat_f32s(0.0); IN];
                        for y in 0..IN {
                            d[y] = read::<S>(from.add(y * row_len + x * n_channels));
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
                            write::<S>(to.add((y * IN + x) * self.point_len), v[x]);
                        }
                    }
                }
            }
        }
    }
}

/// The gradients `y` of the outputs of tiles at the points.
struct Outputs<'a> {
    y: &'a [f32],
    row_len: usize,
    n_channels: usize,
    tiles: Tiles,
    capacity: usize,
    point_len: usize,
    g: &'a mut [f32],
}

impl WithSimd for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { y, row_len, n_channels, tiles: (n_images, (rows, cols)), capacity, .. } = self;
        let image_len = rows * OUT * row_len;
        assert!(n_images * image_len <= y.len() && n_images * rows * cols <= capacity);
        assert!(cols * OUT * n_channels <= row_len);
        assert!(POINTS * self.point_len <= self.g.len());
        assert!(capacity * n_channels <= self.point_len && n_channels.is_multiple_of(LANES));
        for t in 0..n_images * rows * cols {
            let (image, tile) = (t / (rows * cols), t % (rows * cols));
            let (y0, x0) = (tile / cols * OUT, tile % cols * OUT);
            let place = image * image_len + y0 * row_len + x0 * n_channels;
            for c in (0..n_channels).step_by(S::F32_LANES) {
                #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
                // SAFETY: as for the inputs.
                unsafe {
                    let from = y.as_ptr().add(place + c);
                    let to = c / LANES * capacity * LANES + t * LANES + c % LANES;
                    let to = self.g.as_mut_ptr().add(to);
                    let mut half = [[simd.splat_f32s(0.0); IN]; OUT];
                    for x in 0..OUT {
                        let mut d = [simd.splat_f32s(0.0); OUT];
                        for y in 0..OUT {
                            d[y] = read::<S>(from.add(y * row_len + x * n_channels));
                        }
                        half[x] = output_gradients(simd, d);
                    }
                    for y in 0..IN {
                        let mut d = [simd.splat_f32s(0.0); OUT];
                        for x in 0..OUT {
                            d[x] = half[x][y];
                        }
                        let g = output_gradients(simd, d);
                        for x in 0..IN {
                            write::<S>(to.add((y * IN + x) * self.point_len), g[x]);
                        }
                    }
                }
            }
        }
    }
}

/// Adds to squares of sixteen input and sixteen output channels the sum over tiles of
/// `v[tile][input] g[tile][output]`, at one point.
struct Sums<'a> {
    /// From the point's values on, and values from one group to the next.
    v: (&'a [f32], usize),
    /// The same from sixteen output channels on.
    g: (&'a [f32], usize),
    /// Tiles of each group, and of the largest.
    n_tiles: &'a [usize],
    capacity: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
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

impl Sums<'_> {
    /// `R` input and `V` vectors of output channels.
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

/// The gradient of the weights to sixteen output channels from the sums at the points.
struct Weights<'a> {
    /// From their first square on.
    sums: &'a [f32],
    /// Values from one point to the next.
    point_len: usize,
    n_in: usize,
    /// `(16, C, 3, 3)`.
    weight: &'a mut [f32],
}

impl WithSimd for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sums, point_len, n_in, weight } = self;
        assert!((POINTS - 1) * point_len + n_in * LANES <= sums.len());
        for row in 0..n_in {
            let mut window = [[0.0f32; LANES]; TAPS * TAPS];
            for col in (0..LANES).step_by(S::F32_LANES) {
                #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
                // SAFETY: bounded by the assert above; a vector from `col` on is within a window's.
                unsafe {
                    let from = sums.as_ptr().add(row * LANES + col);
                    let mut half = [[simd.splat_f32s(0.0); TAPS]; IN];
                    for x in 0..IN {
                        let mut s = [simd.splat_f32s(0.0); IN];
                        for y in 0..IN {
                            s[y] = read::<S>(from.add((y * IN + x) * point_len));
                        }
                        half[x] = weight_gradients(simd, s);
                    }
                    for y in 0..TAPS {
                        let mut s = [simd.splat_f32s(0.0); IN];
                        for x in 0..IN {
                            s[x] = half[x][y];
                        }
                        let w = weight_gradients(simd, s);
                        for x in 0..TAPS {
                            write::<S>(window[y * TAPS + x].as_mut_ptr().add(col), w[x]);
                        }
                    }
                }
            }
            for (o, weight) in weight.chunks_exact_mut(n_in * TAPS * TAPS).enumerate() {
                let weight = &mut weight[row * TAPS * TAPS..][..TAPS * TAPS];
                for (weight, values) in weight.iter_mut().zip(&window) {
                    *weight = values[o];
                }
            }
        }
    }
}
