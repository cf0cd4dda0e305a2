//! The gradient of a convolution's weights, and with it that of the input.
//!
//! Key decision: where one task can hold the gradient of all weights, it takes the output's
//! gradient into the cache once, for the weights and for the input.

use pulp::Arch;
use rayon::prelude::*;

use super::cpu::{Sum, grad_input, images_per_block, places, with_margins};
use super::geometry::{Gather, Geometry, Run};
use super::scatter;
use super::tile::WeightSum;
use crate::act::{Buffer, Clamp};
use crate::ops::source::Source;

/// Values of all partial weight gradients of a chunk of images together.
const PARTIALS: usize = 1 << 21;
/// Chunks and tasks into which a weight gradient is divided, if it can be.
const MAX_CHUNKS: usize = 16;
const MIN_TASKS: usize = 8;
/// Weights whose partial sums one task adds.
const JOINED: usize = 1 << 12;

/// Gradient of the weights, `(O, C/groups, kh, kw)`, from the input and the output's gradient.
pub(crate) fn grad_weight(x: &Source, grad: &Source, geometry: &Geometry) -> Vec<f32> {
    let division = Division::new(geometry);
    let task = |i: usize| {
        let (chunk, part) = (i / division.n_parts(), i % division.n_parts());
        let (group, cols) = division.part(part);
        let mut partial = Partial::new(geometry, &division, group, cols);
        for images in division.blocks(division.images(chunk)) {
            with_margins(geometry.output(), grad, images, |g| partial.add(x, g, images));
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
    if division.n_parts() > 1 || scatter::suits(geometry) {
        let to_weight = grad_weight(x, grad, geometry);
        return (to_weight, grad_input(grad, weight, geometry, finish));
    }
    let len = geometry.image_len();
    let sums = Sum::backward(geometry, weight);
    let places: Vec<_> = sums.iter().map(|sum| sum.places(division.block, len)).collect();
    let task = |(chunk, to_x): (usize, &mut [f32])| {
        let (group, cols) = division.part(0);
        let mut partial = Partial::new(geometry, &division, group, cols);
        let blocks = division.blocks(division.images(chunk));
        for (images, to_x) in blocks.zip(to_x.chunks_mut(division.block * len)) {
            with_margins(geometry.output(), grad, images, |g| {
                partial.add(x, g, images);
                let (padded, g) = (sums[0].gather.source, Source::Plain(g, Clamp::NONE));
                with_margins(padded, &g, (0, images.1), |g| {
                    for (sum, places) in sums.iter().zip(&places) {
                        sum.apply(g, places, geometry.channels, to_x);
                    }
                });
            });
            finish(images.0, to_x);
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
    n_chunks: usize,
    /// Images that are in the cache at a time.
    block: usize,
    /// Output channels of a group, and of a part of it.
    out_group: usize,
    width: usize,
}

impl<'a> Division<'a> {
    fn new(geometry: &'a Geometry) -> Self {
        let gather = geometry.forward();
        let groups = geometry.conv.groups;
        let out_group = geometry.out_channels / groups;
        let n_weights = geometry.weights_per_output() * geometry.out_channels;
        let n_chunks = (PARTIALS / n_weights.max(1)).clamp(1, MAX_CHUNKS).min(geometry.n.max(1));
        let n_splits = MIN_TASKS.div_ceil(n_chunks * groups).min(out_group.div_ceil(32));
        let width = out_group.div_ceil(n_splits).next_multiple_of(32).min(out_group);
        let block = images_per_block(gather.source.len() + geometry.output().len());
        Self { geometry, gather, n_chunks, block, out_group, width }
    }

    fn parts_per_group(&self) -> usize {
        self.out_group.div_ceil(self.width)
    }

    fn n_parts(&self) -> usize {
        self.geometry.conv.groups * self.parts_per_group()
    }

    /// The group of a part, its first output channel, and how many it has.
    fn part(&self, part: usize) -> (usize, (usize, usize)) {
        let (group, first) = (part / self.parts_per_group(), part % self.parts_per_group());
        let first = first * self.width;
        (group, (group * self.out_group + first, self.width.min(self.out_group - first)))
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
            sums.par_chunks_mut(JOINED).enumerate().for_each(|(i, sums)| {
                for chunk in rest.chunks_exact(self.n_parts()) {
                    let values = &chunk[part][i * JOINED..][..sums.len()];
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
            });
        }
        let n_values = self.geometry.weights_per_output();
        let mut weight = vec![0.0; n_values * self.geometry.out_channels];
        weight.par_chunks_mut(n_values).enumerate().for_each(|(o, weight)| {
            let (group, col) = (o / self.out_group, o % self.out_group);
            let part = group * self.parts_per_group() + col / self.width;
            self.column(&sums[part], col % self.width, weight);
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

/// The weight gradient of some images and output channels: a row for each value of the taps.
struct Partial<'a> {
    geometry: &'a Geometry,
    gather: &'a Gather,
    in_offsets: Vec<usize>,
    runs: Vec<Run>,
    cols: (usize, usize),
    sums: Buffer,
}

impl<'a> Partial<'a> {
    fn new(
        geometry: &'a Geometry,
        Division { gather, block, .. }: &'a Division,
        group: usize,
        cols: (usize, usize),
    ) -> Self {
        let (in_offsets, _) = places(gather, *block, geometry.output().len());
        let runs = gather.runs(group, geometry.conv.groups);
        let sums = Buffer::zeros(geometry.weights_per_output() * cols.1);
        Self { geometry, gather, in_offsets, runs, cols, sums }
    }

    /// Adds the part of a block of images, with `g` the gradient of their output.
    fn add(&mut self, x: &Source, g: &[f32], images: (usize, usize)) {
        let n_pixels = images.1 * self.gather.in_offsets.len();
        with_margins(self.gather.source, x, images, |x| {
            Arch::new().dispatch(WeightSum {
                x,
                in_offsets: &self.in_offsets[..n_pixels],
                runs: &self.runs,
                g,
                n_channels: self.geometry.out_channels,
                cols: self.cols,
                out: &mut self.sums,
            });
        });
    }
}
