//! The gradient of the weights by transformed inputs and gradients.
//!
//! Key decision: where channels are few, tasks take some of the tiles, each with sums of its own.
//! Where they are many, there is one copy of the sums, and tasks take some of the points instead,
//! round by round of tiles. Either way products are summed in the order of the tiles, in parts that
//! depend on the sizes only.

use rayon::prelude::*;

use super::super::blocks::with_rows;
use super::super::geometry::{Geometry, Padded};
use super::super::pack::Direction;
use super::points::{Side, Tiles, WeightGradients};
use super::products::Squares;
use super::sums::Winograd;
use super::transform::{IN, OUT, POINTS, TAPS};
use super::{LANES, Tiling, at_points};
use crate::act::Buffer;
use crate::ops::channels;
use crate::ops::source::Source;
use crate::scratch::LINE;
use crate::simd::dispatch;
use crate::tasks::each;

/// Values at the points of a group of tiles, input and gradient together: they stay in the
/// second-level cache.
const GROUP: usize = 1 << 17;
/// Tiles of a group, at least and at most.
const N_TILES: (usize, usize) = (32, 64);
/// Values at the points of a round, and its groups, at least.
const ROUND: usize = 1 << 20;
const MIN_ROUND: usize = 4;
/// Sums at the points up to which each task has its own, how many such tasks there are, at least and
/// at most, and the tiles of each: of fewer the products take no longer than adding up such sums.
const SMALL: usize = 1 << 18;
const N_TASKS: (usize, usize) = (8, 16);
const OF_TASK: usize = 256;
/// Gradient of the weights, `(O, C, 3, 3)`, from the input and the output's gradient.
pub(in super::super) fn grad_weight(x: &Source, grad: &Source, geometry: &Geometry) -> Vec<f32> {
    let groups = Groups::new(geometry);
    if !groups.are_small() {
        return weights(&groups.by_rounds(x, grad), geometry);
    }
    let tasks = vec![(); groups.n_tasks()];
    let sums = groups.by_tasks(x, tasks, |i, g, ()| groups.transform_gradient(i, grad, g));
    weights(&sums, geometry)
}

/// [`grad_weight`] and the gradient of the input, `(N, H, W, C)`, where both are for the same tiles
/// and tasks have sums of their own: each then takes the output's gradient into the cache once.
/// `finish` is called on each finished block with the place of its first value.
pub(in super::super) fn gradients(
    x: &Source,
    grad: &Source,
    weight: &[f32],
    geometry: &Geometry,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Option<(Vec<f32>, Buffer)> {
    let groups = Groups::new(geometry);
    let mut gather = geometry.backward().pop()?;
    let suits = groups.are_small() && geometry.size == geometry.out_size;
    let back = Winograd::new(geometry, &gather, weight, Direction::Backward).filter(|_| suits)?;
    back.extend(&mut gather);
    let (padded, row_len) = (gather.source, geometry.size[1] * geometry.channels);
    let mut to_x = Buffer::take(geometry.n * geometry.image_len());
    let tasks = groups.split(&mut to_x, row_len);
    let sums = groups.by_tasks(x, tasks, |i, g, (first, to_x)| {
        let (images, rows) = groups.place(i);
        let n_rows = groups.n_rows(rows);
        let (block, rest) = std::mem::take(to_x).split_at_mut(images.1 * n_rows * row_len);
        let read = (rows.0 * OUT, rows.1 * OUT + IN - OUT);
        with_rows(padded, grad, images, read, |y| {
            back.apply(y, (images.1, n_rows), block);
            let [row_len, pixel] = [padded.offset([1, 0]), padded.channels];
            let y = &y[padded.before[0] * row_len + padded.before[1] * pixel..];
            groups.transform((Side::Gradient, i), (y, row_len, read.1 * row_len), g);
        });
        finish(*first, block);
        (*first, *to_x) = (*first + block.len(), rest);
    });
    Some((weights(&sums, geometry), to_x))
}

/// The gradient of the weights from the sums at the points.
fn weights(sums: &[f32], geometry: &Geometry) -> Vec<f32> {
    let (n_in, point_len) = (geometry.channels, sums_len(geometry.channels, geometry.out_channels));
    let mut weight = vec![0.0; geometry.out_channels * n_in * TAPS * TAPS];
    each(weight.chunks_mut(LANES * n_in * TAPS * TAPS).enumerate(), |(col, weight)| {
        let sums = &sums[col * n_in * LANES..];
        dispatch(WeightGradients { sums, point_len, n_in, weight });
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
        let n_tiles = (GROUP / per_tile).clamp(N_TILES.0, N_TILES.1);
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

    /// Values of the sums at one point.
    fn sums_len(&self) -> usize {
        sums_len(self.padded[0].channels, self.padded[1].channels)
    }

    /// Whether each task can have sums of its own.
    fn are_small(&self) -> bool {
        POINTS * self.sums_len() <= SMALL && self.n_tasks() >= N_TASKS.0
    }

    fn n_tasks(&self) -> usize {
        (self.n_images * self.tiling.len() / OF_TASK).clamp(1, N_TASKS.1).min(self.len().max(1))
    }

    /// The first group of a task, and the first of the next.
    fn of_task(&self, task: usize) -> (usize, usize) {
        let first = |task: usize| self.len() * task / self.n_tasks();
        (first(task), first(task + 1))
    }

    /// Rows of pixels of some rows of tiles.
    fn n_rows(&self, (first, n): (usize, usize)) -> usize {
        (n * OUT).min(self.tiling.size[0] - first * OUT)
    }

    /// The rows of pixels of each task, and the place of the first of their values.
    fn split<'v>(&self, mut pixels: &'v mut [f32], row_len: usize) -> Vec<(usize, &'v mut [f32])> {
        let mut tasks = Vec::new();
        let mut first = 0;
        for task in 0..self.n_tasks() {
            let (group, end) = self.of_task(task);
            let n_rows = (group..end).map(|i| {
                let ((_, n_images), rows) = self.place(i);
                n_images * self.n_rows(rows)
            });
            let (own, rest) = pixels.split_at_mut(n_rows.sum::<usize>() * row_len);
            (pixels, first) = (rest, first + own.len());
            tasks.push((first - own.len(), own));
        }
        tasks
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

    /// The sums at the points; each task has groups and sums of its own. `transform` writes the
    /// gradients of a group at the points, with what the task has.
    fn by_tasks<T: Send>(
        &self,
        x: &Source,
        tasks: Vec<T>,
        transform: impl Fn(usize, &mut [f32], &mut T) + Sync,
    ) -> Buffer {
        let [len_in, len_out] = self.lens();
        let task = |(task, mut own): (usize, T)| {
            let mut sums = self.zeros();
            let (mut v, mut g) = (Buffer::take(len_in), Buffer::take(len_out));
            let (first, end) = self.of_task(task);
            for i in first..end {
                self.transform_input(i, x, &mut v);
                transform(i, &mut g, &mut own);
                for (point, sums) in self.points(&mut sums).enumerate() {
                    for (col, sums) in self.columns(sums).enumerate() {
                        self.sum(point, col, (&v, &g), &[self.n_tiles(i)], sums);
                    }
                }
            }
            sums
        };
        let partials: Vec<Buffer> = tasks.into_par_iter().enumerate().map(task).collect();
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
            let tasks = v[..n * len_in].chunks_mut(len_in).zip(g.chunks_mut(len_out));
            each(tasks.enumerate(), |(i, (v, g))| {
                self.transform_input(first + i, x, v);
                self.transform_gradient(first + i, grad, g);
            });
            let n_tiles: Vec<usize> = (first..first + n).map(|i| self.n_tiles(i)).collect();
            let len = self.sums_len();
            each(sums[..POINTS * len].chunks_exact_mut(len).enumerate(), |(point, sums)| {
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
        dispatch(Squares { v, g, n_tiles, capacity, sums });
    }

    /// The inputs of group number `i` at all points.
    fn transform_input(&self, i: usize, x: &Source, v: &mut [f32]) {
        let (images, (row, n_rows)) = self.place(i);
        let (padded, n_rows) = (self.padded[0], n_rows * OUT + IN - OUT);
        let row_len = padded.offset([1, 0]);
        with_rows(padded, x, images, (row * OUT, n_rows), |x| {
            self.transform((Side::Input, i), (x, row_len, n_rows * row_len), v);
        });
    }

    /// The gradients of the outputs of group number `i` at all points.
    fn transform_gradient(&self, i: usize, grad: &Source, g: &mut [f32]) {
        let (images, (row, n_rows)) = self.place(i);
        let (padded, n_rows) = (self.padded[1], n_rows * OUT);
        let row_len = padded.offset([1, 0]);
        with_rows(padded, grad, images, (row * OUT, n_rows), |y| {
            self.transform((Side::Gradient, i), (y, row_len, n_rows * row_len), g);
        });
    }

    /// Group number `i` at all points, from images with such rows, so far apart.
    fn transform(
        &self,
        (side, i): (Side, usize),
        (values, row_len, image_len): (&[f32], usize, usize),
        to: &mut [f32],
    ) {
        let ((_, n_images), (_, n_rows)) = self.place(i);
        let n_channels = match side {
            Side::Input => self.padded[0].channels,
            Side::Gradient => self.padded[1].channels,
        };
        let (capacity, point_len) = (self.capacity, self.point_len(n_channels));
        let tiles = [n_images, n_rows, self.tiling.tiles[1]];
        dispatch(Tiles {
            side,
            values,
            row_len,
            image_len,
            n_channels,
            tiles,
            capacity,
            point_len,
            to,
        });
    }
}

/// Values of the sums at one point: for sixteen output channels the squares with all inputs, then the
/// next.
fn sums_len(n_in: usize, n_out: usize) -> usize {
    n_in * n_out + LINE
}
