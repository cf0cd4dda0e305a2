//! The gradient of a convolution's weights, and with it that of the input.
//!
//! Key decision: where one task can hold the gradient of all weights, it takes the output's
//! gradient into the cache once, for the weights and for the input.

use rayon::prelude::*;

use super::blocks::{BLOCK, Block, Blocks, images_per_block, with_block, with_margins, with_rows};
use super::cpu::Sum;
use super::geometry::{Gather, Geometry, Run};
use super::kept::grad_input;
use super::lanes::LaneWeightSum;
use super::pack::Direction;
use super::scatter;
use super::spread::Spread;
use super::tile::WeightSum;
use super::winograd;
use crate::act::{Buffer, Clamp};
use crate::ops::source::Source;
use crate::scratch::with_buffer;
use crate::simd::dispatch;
use crate::tasks::each;

/// Values of all partial weight gradients of a chunk of images together.
const PARTIALS: usize = 1 << 21;
/// Chunks and tasks into which a weight gradient is divided, if it can be.
const MAX_CHUNKS: usize = 16;
const MIN_TASKS: usize = 8;
/// Weights whose partial sums one task adds.
const JOINED: usize = 1 << 12;

/// Gradient of the weights, `(O, C/groups, kh, kw)`, from the input and the output's gradient.
pub(crate) fn grad_weight(x: &Source, grad: &Source, geometry: &Geometry) -> Vec<f32> {
    if winograd::suits(geometry, Direction::Forward) {
        return winograd::grad_weight(x, grad, geometry);
    }
    let division = Division::new(geometry);
    let task = |i: usize| {
        let (chunk, part) = (i / division.n_parts(), i % division.n_parts());
        let mut partial = Partial::new(&division, division.part(part));
        for images in division.blocks(division.images(chunk)) {
            for rows in division.strips() {
                with_rows(geometry.output(), grad, images, rows, |g| {
                    partial.add(x, g, images, rows);
                });
            }
        }
        partial.sums
    };
    let n_tasks = division.n_chunks * division.n_parts();
    division.join((0..n_tasks).into_par_iter().map(task).collect())
}

/// [`grad_weight`] and [`grad_input`].
pub(crate) fn gradients(
    x: &Source,
    grad: &Source,
    weight: &[f32],
    geometry: &Geometry,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> (Vec<f32>, Buffer) {
    let division = Division::new(geometry);
    let is_divided = division.n_parts() > 1 || division.rows < division.gather.size[0];
    let is_transformed = winograd::suits(geometry, Direction::Forward);
    if is_transformed && let Some(both) = winograd::gradients(x, grad, weight, geometry, &finish) {
        return both;
    }
    let is_alone = scatter::suits(geometry) || is_transformed;
    if is_divided || is_alone {
        let to_weight = grad_weight(x, grad, geometry);
        return (to_weight, grad_input(None, grad, weight, geometry, finish));
    }
    let len = geometry.image_len();
    let sums = Sum::all(geometry, weight, Direction::Backward);
    let places: Vec<_> = sums.iter().map(|sum| sum.places(division.block, len)).collect();
    let task = |(chunk, to_x): (usize, &mut [f32])| {
        let mut partial = Partial::new(&division, division.part(0));
        let blocks = division.blocks(division.images(chunk));
        for (images, to_x) in blocks.zip(to_x.chunks_mut(division.block * len)) {
            with_margins(geometry.output(), grad, images, |g| {
                partial.add(x, g, images, (0, division.rows));
                let (padded, g) = (sums[0].gather.source, Source::Plain(g, Clamp::NONE));
                let rows = (0, sums[0].gather.size[0]);
                let first = images.0 * len;
                let mut block = Block { images, rows, first, out: to_x };
                with_margins(padded, &g, (0, images.1), |g| {
                    for (sum, places) in sums.iter().zip(&places) {
                        sum.apply(g, places, &mut block);
                    }
                });
                finish(first, block.out);
            });
        }
        partial.sums
    };
    let mut to_x = Buffer::take(geometry.n * len);
    let chunks = division.split(&mut to_x, len);
    let partials = chunks.into_par_iter().enumerate().map(task).collect();
    (division.join(partials), to_x)
}

/// How the sums are divided: chunks of images are summed separately, and output channels are
/// shared between tasks where the weights are many. It depends on the sizes only.
struct Division<'a> {
    geometry: &'a Geometry,
    gather: Gather,
    spread: Option<Spread>,
    n_chunks: usize,
    /// Images that are in the cache at a time, and rows of pixels of each.
    block: usize,
    rows: usize,
    /// Output channels of a part; all of them where there are groups.
    width: usize,
}

impl<'a> Division<'a> {
    fn new(geometry: &'a Geometry) -> Self {
        let gather = geometry.forward();
        let spread = Spread::new(geometry, Direction::Forward);
        let n_weights = geometry.weights_per_output() * geometry.out_channels;
        let n_chunks = (PARTIALS / n_weights.max(1)).clamp(1, MAX_CHUNKS).min(geometry.n.max(1));
        let n_out = geometry.out_channels;
        let width = if geometry.conv.groups > 1 {
            n_out
        } else {
            let n_splits = MIN_TASKS.div_ceil(n_chunks).min(n_out.div_ceil(32));
            n_out.div_ceil(n_splits).next_multiple_of(32).min(n_out)
        };
        let in_row = gather.source.offset([1, 0]);
        let (in_row, len) = match &spread {
            Some(spread) => (spread.cached(in_row), BLOCK),
            None => (in_row, usize::MAX),
        };
        let out = geometry.output();
        let rows = Blocks::new(&[&gather], in_row, (out.len(), out.size[0]), len).rows();
        let block = images_per_block(gather.source.n_rows() * in_row + out.len());
        Self { geometry, gather, spread, n_chunks, block, rows, width }
    }

    fn n_parts(&self) -> usize {
        self.geometry.out_channels.div_ceil(self.width)
    }

    /// The first output channel of a part, and how many it has.
    fn part(&self, part: usize) -> (usize, usize) {
        let first = part * self.width;
        (first, self.width.min(self.geometry.out_channels - first))
    }

    /// The first image of a chunk, and the first behind it.
    fn images(&self, chunk: usize) -> (usize, usize) {
        let first = |chunk: usize| self.geometry.n * chunk / self.n_chunks;
        (first(chunk), first(chunk + 1))
    }

    /// First image and number of images of each block.
    fn blocks(&self, (first, end): (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
        let block = self.block;
        (first..end).step_by(block).map(move |image| (image, block.min(end - image)))
    }

    /// First row of pixels and number of rows of each part of a block of images.
    fn strips(&self) -> impl Iterator<Item = (usize, usize)> {
        let (rows, end) = (self.rows, self.gather.size[0]);
        (0..end).step_by(rows).map(move |row| (row, rows.min(end - row)))
    }

    /// The chunks of `values`, `len` for each image.
    fn split<'v>(&self, mut values: &'v mut [f32], len: usize) -> Vec<&'v mut [f32]> {
        let mut chunks = Vec::new();
        for chunk in 0..self.n_chunks {
            let (first, end) = self.images(chunk);
            let (images, rest) = values.split_at_mut((end - first) * len);
            chunks.push(images);
            values = rest;
        }
        chunks
    }

    /// The weights' gradient from those of all chunks and parts, added in the chunks' order.
    fn join(&self, mut partials: Vec<Buffer>) -> Vec<f32> {
        let (sums, rest) = partials.split_at_mut(self.n_parts());
        for (part, sums) in sums.iter_mut().enumerate() {
            each(sums.chunks_mut(JOINED).enumerate(), |(i, sums)| {
                for chunk in rest.chunks_exact(self.n_parts()) {
                    let values = &chunk[part][i * JOINED..][..sums.len()];
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            });
        }
        let geometry = self.geometry;
        let n_values = geometry.weights_per_output();
        let mut weight = vec![0.0; n_values * geometry.out_channels];
        if let Some(spread) = &self.spread {
            let sums = &sums[0];
            spread.each_weight(geometry, &self.gather, Direction::Forward, |from, to| {
                weight[to] = sums[from];
            });
            return weight;
        }
        let of_group = geometry.out_channels / geometry.conv.groups;
        each(weight.chunks_mut(n_values).enumerate(), |(o, weight)| {
            let (sums, col) = (&sums[o / self.width], o % self.width);
            let n_cols = (sums.len() / n_values).min(of_group);
            let group = &sums[col / n_cols * n_cols * n_values..][..n_cols * n_values];
            self.column(group, col % n_cols, weight);
        });
        weight
    }

    /// The weights of an output channel: the column `col` of `sums`, a row for each value of the
    /// taps.
    fn column(&self, sums: &[f32], col: usize, weight: &mut [f32]) {
        let n_cols = sums.len() / weight.len();
        let kernel = self.geometry.kernel;
        let n_positions = kernel[0] * kernel[1];
        let in_group = weight.len() / n_positions;
        for (tap, sums) in self.gather.taps.iter().zip(sums.chunks_exact(in_group * n_cols)) {
            let position = tap.position[0] * kernel[1] + tap.position[1];
            let of_channels = sums.iter().skip(col).step_by(n_cols);
            let weights = weight.iter_mut().skip(position).step_by(n_positions);
            weights.zip(of_channels).for_each(|(weight, sum)| *weight = *sum);
        }
    }
}

/// The weight gradient of some images and output channels: for each group, a row for each value of
/// the taps.
struct Partial<'a> {
    division: &'a Division<'a>,
    in_offsets: Vec<usize>,
    cols: (usize, usize),
    windows: Windows,
    sums: Buffer,
}

/// What the windows read: runs of each group, or the taps of spread images.
enum Windows {
    Groups(Vec<Vec<Run>>),
    Lanes(Spread, Vec<usize>),
}

impl<'a> Partial<'a> {
    fn new(division: &'a Division, cols: (usize, usize)) -> Self {
        let Division { geometry, gather, block, .. } = division;
        let n_groups = geometry.conv.groups;
        let (in_offsets, windows) = match division.spread {
            Some(spread) => (
                spread.gather(gather).in_places(*block),
                Windows::Lanes(spread, spread.taps(gather)),
            ),
            None => (
                gather.in_places(*block),
                Windows::Groups((0..n_groups).map(|group| gather.runs(group, n_groups)).collect()),
            ),
        };
        let sums = Buffer::zeros(geometry.weights_per_output() * cols.1);
        Self { division, in_offsets, cols, windows, sums }
    }

    /// Adds the part of rows of pixels of a block of images, with `g` the gradient of their output.
    fn add(&mut self, x: &Source, g: &[f32], images: (usize, usize), rows: (usize, usize)) {
        let Division { geometry, gather, .. } = self.division;
        let in_offsets = &self.in_offsets[..images.1 * rows.1 * gather.size[1]];
        let (n_channels, sums) = (geometry.out_channels, &mut self.sums[..]);
        with_block(&[gather], x, images, rows, |x| match &self.windows {
            Windows::Lanes(spread, taps) => spread.with(x, |x| {
                dispatch(LaneWeightSum { x, in_offsets, taps, g, n_channels, out: sums });
            }),
            Windows::Groups(groups) => {
                let width = self.cols.1 / groups.len();
                let len = sums.len() / groups.len();
                with_buffer(len, |so_far| {
                    for ((i, runs), out) in
                        groups.iter().enumerate().zip(sums.chunks_exact_mut(len))
                    {
                        let cols = (self.cols.0 + i * width, width);
                        dispatch(WeightSum {
                            x,
                            in_offsets,
                            runs,
                            g,
                            n_channels,
                            cols,
                            out,
                            so_far: &mut *so_far,
                        });
                    }
                });
            }
        });
    }
}
