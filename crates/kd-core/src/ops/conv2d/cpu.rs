//! The three products of a convolution on the CPU, image block by image block.
//!
//! Key decision: activations are NHWC. A kernel's row is then one run of memory, margins are the
//! only copy, and batch norm, bias and ReLU run along contiguous channels. PyTorch on the same
//! processor takes 2.5 s for a training step of ResNet-18 in NCHW and 1.85 s in NHWC.
//!
//! A task takes a block of images that fits the second-level cache, gives it its margins in a
//! buffer of the thread's own, and writes its own part of the output; nothing depends on which
//! thread does it.

use std::cell::Cell;

use pulp::Arch;
use rayon::prelude::*;

use crate::tape::Buffer;

use super::geometry::{Gather, Geometry, Padded, Run};
use super::pack::{Direction, pack};
use super::scatter;
use super::tile::{GatherSum, WeightSum};
use super::winograd::Winograd;

/// Values of the images that a task takes, with margins, input and output together.
const BLOCK: usize = 1 << 18;
/// Values of all partial weight gradients of a chunk of images together.
const PARTIALS: usize = 1 << 21;
/// Chunks and tasks into which a weight gradient is divided, if it can be.
const MAX_CHUNKS: usize = 16;
const MIN_TASKS: usize = 8;

/// `(N, H, W, C)` -> `(N, OH, OW, O)`; `finish` is called on each finished block of output pixels
/// with the number of its first image, while it is still in the cache.
pub(crate) fn forward(
    x: &[f32],
    weight: &[f32],
    geometry: &Geometry,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Buffer {
    let sums = [Sum::new(geometry, geometry.forward(), weight, Direction::Forward)];
    run(&sums, geometry.out_channels, x, geometry.out_image_len(), finish)
}

/// Gradient of the input, `(N, H, W, C)`, from that of the output.
pub(crate) fn grad_input(grad: &[f32], weight: &[f32], geometry: &Geometry) -> Buffer {
    if scatter::suits(geometry) {
        return scatter::grad_input(grad, weight, geometry);
    }
    let gathers = geometry.backward().into_iter();
    let sums: Vec<_> =
        gathers.map(|gather| Sum::new(geometry, gather, weight, Direction::Backward)).collect();
    run(&sums, geometry.channels, grad, geometry.image_len(), |_, _| {})
}

/// Images whose input and output fit the cache together.
pub(crate) fn images_per_block(len: usize) -> usize {
    (BLOCK / len.max(1)).max(1)
}

/// A gathering sum with its packed weights.
struct Sum {
    gather: Gather,
    weights: Weights,
}

enum Weights {
    Direct(Vec<Group>),
    Transformed(Winograd),
}

/// What the windows of one group read, and its weights in panels.
struct Group {
    runs: Vec<Run>,
    panels: Vec<f32>,
}

impl Sum {
    fn new(geometry: &Geometry, gather: Gather, weight: &[f32], direction: Direction) -> Self {
        let n_groups = geometry.conv.groups;
        let group = |group| Group {
            runs: gather.runs(group, n_groups),
            panels: pack(geometry, &gather, weight, (direction, group)),
        };
        let weights = match Winograd::new(geometry, weight, direction) {
            Some(transformed) => Weights::Transformed(transformed),
            None => Weights::Direct((0..n_groups).map(group).collect()),
        };
        Self { gather, weights }
    }

    /// Where the pixels of `n_images` images lie; a transformed sum does not ask.
    fn places(&self, n_images: usize, out_len: usize) -> Places {
        match self.weights {
            Weights::Direct(_) => places(&self.gather, n_images, out_len),
            Weights::Transformed(_) => Places::default(),
        }
    }

    fn images_per_block(&self, out_len: usize) -> usize {
        let fitting = images_per_block(self.gather.source.len() + out_len);
        match &self.weights {
            Weights::Direct(_) => fitting,
            Weights::Transformed(winograd) => fitting.max(winograd.images_per_block()),
        }
    }

    /// The sums of the images `x`, which have margins, at `places`, to `out`.
    fn apply(&self, x: &[f32], (from, to): &Places, n_channels: usize, out: &mut [f32]) {
        let groups = match &self.weights {
            Weights::Transformed(winograd) => return winograd.apply(self.gather.source, x, out),
            Weights::Direct(groups) => groups,
        };
        let n_pixels = x.len() / self.gather.source.len() * self.gather.in_offsets.len();
        let n_cols = n_channels / groups.len();
        for (i, Group { runs, panels }) in groups.iter().enumerate() {
            Arch::new().dispatch(GatherSum {
                x,
                in_offsets: &from[..n_pixels],
                out_offsets: &to[..n_pixels],
                runs,
                panels,
                n_cols,
                first_col: i * n_cols,
                out,
            });
        }
    }
}

fn run(
    sums: &[Sum],
    n_channels: usize,
    source: &[f32],
    out_len: usize,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Buffer {
    let padded = sums[0].gather.source;
    let block = sums[0].images_per_block(out_len);
    let places: Vec<_> = sums.iter().map(|sum| sum.places(block, out_len)).collect();
    let mut out = Buffer::take(source.len() / padded.image_len() * out_len);
    out.par_chunks_mut(block * out_len).enumerate().for_each(|(i, out)| {
        let n_images = out.len() / out_len;
        let images = &source[i * block * padded.image_len()..][..n_images * padded.image_len()];
        with_margins(padded, images, |x| {
            for (sum, places) in sums.iter().zip(&places) {
                sum.apply(x, places, n_channels, out);
            }
        });
        finish(i * block, out);
    });
    out
}

/// Where pixels lie in the source and in the output.
type Places = (Vec<usize>, Vec<usize>);

/// The places of the pixels of `n_images` images.
fn places(gather: &Gather, n_images: usize, out_len: usize) -> Places {
    let all = |offsets: &[usize], len: usize| -> Vec<usize> {
        (0..n_images).flat_map(|i| offsets.iter().map(move |offset| i * len + offset)).collect()
    };
    (all(&gather.in_offsets, gather.source.len()), all(&gather.out_offsets, out_len))
}

thread_local! {
    /// A buffer for images with margins, kept from call to call.
    static MARGINS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with `images` as they are with their margins.
fn with_margins(padded: Padded, images: &[f32], f: impl FnOnce(&[f32])) {
    if !padded.has_margins() {
        return f(images);
    }
    let len = images.len() / padded.image_len() * padded.len();
    let mut buffer = MARGINS.take();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    padded.copy(images, &mut buffer[..len]);
    f(&buffer[..len]);
    MARGINS.set(buffer);
}

/// Gradient of the weights, `(O, C/groups, kh, kw)`, from the input and the output's gradient.
///
/// Chunks of images are summed separately, and channels are shared between tasks where the
/// weights are many; the division depends on the sizes only.
pub(crate) fn grad_weight(x: &[f32], grad: &[f32], geometry: &Geometry) -> Vec<f32> {
    let gather = geometry.forward();
    let groups = geometry.conv.groups;
    let out_group = geometry.out_channels / groups;
    let n_values = geometry.weights_per_output();
    let n_weights = n_values * geometry.out_channels;
    let n_chunks = (PARTIALS / n_weights.max(1)).clamp(1, MAX_CHUNKS).min(geometry.n.max(1));
    let n_splits = MIN_TASKS.div_ceil(n_chunks * groups).min(out_group.div_ceil(32));
    let width = out_group.div_ceil(n_splits).next_multiple_of(32).min(out_group);
    let parts_per_group = out_group.div_ceil(width);
    let task = |i: usize| {
        let (chunk, part) = (i / (groups * parts_per_group), i % (groups * parts_per_group));
        let (group, first) = (part / parts_per_group, part % parts_per_group * width);
        let cols = (group * out_group + first, width.min(out_group - first));
        let images = (geometry.n * chunk / n_chunks, geometry.n * (chunk + 1) / n_chunks);
        partial(x, grad, geometry, &gather, (images, group, cols))
    };
    let n_parts = groups * parts_per_group;
    let partials: Vec<_> = (0..n_chunks * n_parts).into_par_iter().map(task).collect();
    let mut weight = vec![0.0; n_weights];
    weight.par_chunks_mut(n_values).enumerate().for_each(|(o, weight)| {
        let (group, col) = (o / out_group, o % out_group);
        let (part, col) = (group * parts_per_group + col / width, col % width);
        for chunk in partials.chunks_exact(n_parts) {
            add_column(weight, &chunk[part], col, geometry, &gather);
        }
    });
    weight
}

/// Adds the column `col` of a partial gradient to the weights of its output channel.
fn add_column(
    weight: &mut [f32],
    partial: &[f32],
    col: usize,
    geometry: &Geometry,
    gather: &Gather,
) {
    let n_cols = partial.len() / weight.len();
    let n_positions = geometry.kernel[0] * geometry.kernel[1];
    let in_group = weight.len() / n_positions;
    for (tap, sums) in gather.taps.iter().zip(partial.chunks_exact(in_group * n_cols)) {
        let position = tap.position[0] * geometry.kernel[1] + tap.position[1];
        let of_channels = sums.iter().skip(col).step_by(n_cols);
        let weights = weight.iter_mut().skip(position).step_by(n_positions);
        weights.zip(of_channels).for_each(|(weight, sum)| *weight += sum);
    }
}

/// The weight gradient of some images and output channels: a row for each value of the taps.
fn partial(
    x: &[f32],
    grad: &[f32],
    geometry: &Geometry,
    gather: &Gather,
    ((first, end), group, cols): ((usize, usize), usize, (usize, usize)),
) -> Vec<f32> {
    let (padded, out_len) = (gather.source, geometry.out_image_len());
    let block = images_per_block(padded.len() + out_len);
    let (from, _) = places(gather, block, out_len);
    let runs = gather.runs(group, geometry.conv.groups);
    let mut sums = vec![0.0; geometry.weights_per_output() * cols.1];
    for image in (first..end).step_by(block) {
        let n_images = block.min(end - image);
        let images = &x[image * padded.image_len()..][..n_images * padded.image_len()];
        let g = &grad[image * out_len..][..n_images * out_len];
        with_margins(padded, images, |x| {
            Arch::new().dispatch(WeightSum {
                x,
                in_offsets: &from[..n_images * gather.in_offsets.len()],
                runs: &runs,
                g,
                n_channels: geometry.out_channels,
                cols,
                out: &mut sums,
            });
        });
    }
    sums
}
