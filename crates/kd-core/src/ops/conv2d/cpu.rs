//! A convolution and its input gradient on the CPU, image block by image block.
//!
//! Key decision: activations are NHWC. A kernel's row is then one run of memory, margins are the
//! only copy, and batch norm, bias and ReLU run along contiguous channels. PyTorch on the same
//! processor takes 2.5 s for a training step of ResNet-18 in NCHW and 1.85 s in NHWC.
//!
//! A task takes a block of images that fits the second-level cache, gives it its margins in a
//! buffer of the thread's own (and computes it there, see `source.rs`), and writes its own part of
//! the output; nothing depends on which thread does it.

use std::cell::RefCell;

use pulp::Arch;
use rayon::prelude::*;

use crate::act::Buffer;
use crate::simd::vectorized;

use super::geometry::{Gather, Geometry, Padded, Run};
use super::pack::{Direction, pack};
use super::scatter;
use super::tile::GatherSum;
use super::winograd::Winograd;
use crate::ops::source::Source;

/// Values of the images that a task takes, with margins, input and output together.
const BLOCK: usize = 1 << 18;

/// `(N, H, W, C)` -> `(N, OH, OW, O)`; `finish` is called on each finished block of output pixels
/// with the number of its first image, while it is still in the cache.
pub(crate) fn forward(
    x: &Source,
    weight: &[f32],
    geometry: &Geometry,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Buffer {
    let sums = [Sum::new(geometry, geometry.forward(), weight, Direction::Forward)];
    run(&sums, geometry.out_channels, x, geometry.out_image_len(), finish)
}

/// Gradient of the input, `(N, H, W, C)`, from that of the output; `finish` as in [`forward`].
pub(crate) fn grad_input(
    grad: &Source,
    weight: &[f32],
    geometry: &Geometry,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Buffer {
    if scatter::suits(geometry) {
        return scatter::grad_input(grad, weight, geometry, finish);
    }
    let sums = Sum::backward(geometry, weight);
    run(&sums, geometry.channels, grad, geometry.image_len(), finish)
}

/// Images whose input and output fit the cache together.
pub(crate) fn images_per_block(len: usize) -> usize {
    (BLOCK / len.max(1)).max(1)
}

/// A gathering sum with its packed weights.
pub(super) struct Sum {
    pub(super) gather: Gather,
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

    /// The sums that make the input gradient together.
    pub(super) fn backward(geometry: &Geometry, weight: &[f32]) -> Vec<Self> {
        let gathers = geometry.backward().into_iter();
        gathers.map(|gather| Self::new(geometry, gather, weight, Direction::Backward)).collect()
    }

    /// Where the pixels of `n_images` images lie; a transformed sum does not ask.
    pub(super) fn places(&self, n_images: usize, out_len: usize) -> Places {
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
    pub(super) fn apply(&self, x: &[f32], (from, to): &Places, n_channels: usize, out: &mut [f32]) {
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
    source: &Source,
    out_len: usize,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Buffer {
    let padded = sums[0].gather.source;
    let block = sums[0].images_per_block(out_len);
    let places: Vec<_> = sums.iter().map(|sum| sum.places(block, out_len)).collect();
    let mut out = Buffer::take(source.len() / padded.image_len() * out_len);
    out.par_chunks_mut(block * out_len).enumerate().for_each(|(i, out)| {
        let n_images = out.len() / out_len;
        with_margins(padded, source, (i * block, n_images), |x| {
            for (sum, places) in sums.iter().zip(&places) {
                sum.apply(x, places, n_channels, out);
            }
        });
        finish(i * block, out);
    });
    out
}

/// Where pixels lie in the source and in the output.
pub(super) type Places = (Vec<usize>, Vec<usize>);

/// The places of the pixels of `n_images` images.
pub(super) fn places(gather: &Gather, n_images: usize, out_len: usize) -> Places {
    let all = |offsets: &[usize], len: usize| -> Vec<usize> {
        (0..n_images).flat_map(|i| offsets.iter().map(move |offset| i * len + offset)).collect()
    };
    (all(&gather.in_offsets, gather.source.len()), all(&gather.out_offsets, out_len))
}

thread_local! {
    /// Buffers for images with margins, kept from call to call.
    static MARGINS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `n_images` images of `source` from `first` on, with their margins, in the cache.
pub(super) fn with_margins(
    padded: Padded,
    source: &Source,
    (first, n_images): (usize, usize),
    f: impl FnOnce(&[f32]),
) {
    if let (Source::Plain(values, _), false) = (source, padded.has_margins()) {
        return f(&values[first * padded.image_len()..][..n_images * padded.image_len()]);
    }
    let len = n_images * padded.len();
    let mut buffer = MARGINS.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    vectorized(
        #[inline(always)]
        || padded.copy(source, first, &mut buffer[..len]),
    );
    f(&buffer[..len]);
    MARGINS.with_borrow_mut(|free| free.push(buffer));
}
