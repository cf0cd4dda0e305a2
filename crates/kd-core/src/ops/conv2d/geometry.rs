//! Which input pixels meet which weights.
//!
//! Key decision: a convolution and its input gradient are the same gathering sum. Every output
//! pixel has a place in a zero-padded source image, and every kernel position (tap) a distance from
//! that place. At stride s the input gradient falls apart into s x s such sums, one for each
//! remainder of the pixel's row and column, and no multiplication with an inserted zero remains.

use super::{Conv, ConvSums};
use crate::ops::operation::n_windows;
use crate::ops::source::Source;
use crate::{Error, Result};

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Geometry {
    /// Images.
    pub(crate) n: usize,
    /// Height and width of an input image.
    pub(crate) size: [usize; 2],
    /// Height and width of an output image.
    pub(crate) out_size: [usize; 2],
    /// Input channels, C.
    pub(crate) channels: usize,
    /// Output channels, O.
    pub(crate) out_channels: usize,
    /// Height and width of the kernel.
    pub(crate) kernel: [usize; 2],
    /// Stride, padding, groups.
    pub(crate) conv: Conv,
    /// How the sums are formed.
    pub(crate) sums: ConvSums,
}

/// A position of the kernel, and how far its pixel lies behind the window's first value, in values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    pub(super) position: [usize; 2],
    pub(super) offset: usize,
}

/// A run of consecutive source values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: usize,
    pub(super) len: usize,
}

/// An image with margins of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Padded {
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
    /// Zeros above and to the left.
    pub(super) before: [usize; 2],
    /// Zeros below and to the right.
    pub(super) after: [usize; 2],
}

/// Output pixel `j` of an image sums, over the taps, the products of weights and the channels
/// found at `in_offsets[j] + tap.offset`, and is written to `out_offsets[j]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gather {
    pub(super) source: Padded,
    pub(super) in_offsets: Vec<usize>,
    pub(super) out_offsets: Vec<usize>,
    pub(super) taps: Vec<Tap>,
    /// Rows and columns of pixels.
    pub(super) size: [usize; 2],
    /// Source rows and output rows from one row of pixels to the next.
    pub(super) in_rows: usize,
    pub(super) out_rows: usize,
    /// Source rows that a window touches.
    pub(super) reach: usize,
}

impl Geometry {
    /// From `(N, H, W, C)` and `(O, C/groups, kh, kw)`.
    pub(crate) fn new(x: &[usize], weight: &[usize], conv: Conv) -> Result<Self> {
        let &[n, height, width, channels] = x else {
            return Err(Error::shape("x", "(N, H, W, C)", x));
        };
        if height * width == 0 {
            return Err(Error::shape("x", "(N, H, W, C) with pixels", x));
        }
        let groups = conv.groups;
        if [conv.stride, conv.dilation].concat().contains(&0) || groups == 0 {
            let reason = "stride, dilation and groups must be at least 1";
            return Err(Error::config("conv", reason));
        }
        let expected = || format!("(O, {channels}/{groups}, kh, kw), O a multiple of {groups}");
        let &[out_channels, in_group, kh, kw] = weight else {
            return Err(Error::shape("weight", expected(), weight));
        };
        let fits = channels.is_multiple_of(groups) && out_channels.is_multiple_of(groups);
        if !fits || in_group != channels / groups || weight.contains(&0) {
            return Err(Error::shape("weight", expected(), weight));
        }
        let side = |size: usize, k: usize, axis: usize| {
            n_windows(size, conv.padding_of(axis), conv.reach(axis, k)?, conv.stride[axis])
        };
        let (Some(out_height), Some(out_width)) = (side(height, kh, 0), side(width, kw, 1)) else {
            let [rows, cols] = [(0, kh), (1, kw)].map(|(axis, k)| conv.reach(axis, k));
            let least = match (rows, cols) {
                (Some(rows), Some(cols)) => format!("{rows}x{cols} pixels"),
                _ => "fewer pixels than the dilation asks for".into(),
            };
            let least = format!("(N, H, W, C) of at least {least} with the padding");
            return Err(Error::shape("x", least, x));
        };
        let (size, out_size) = ([height, width], [out_height, out_width]);
        let (kernel, sums) = ([kh, kw], ConvSums::default());
        Ok(Self { n, size, out_size, channels, out_channels, kernel, conv, sums })
    }

    /// Whether it is a linear map of each pixel's channels, all of them.
    pub(super) fn is_pointwise(&self) -> bool {
        let Conv { stride, padding, groups, .. } = self.conv;
        (self.kernel, stride, padding, groups) == ([1; 2], [1; 2], [0; 4], 1)
    }

    /// Values of an input image.
    pub(super) fn image_len(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    /// The input, as images without margins.
    pub(super) fn input(&self) -> Padded {
        let (size, channels) = (self.size, self.channels);
        Padded { size, channels, before: [0; 2], after: [0; 2] }
    }

    /// The output, as images without margins.
    pub(super) fn output(&self) -> Padded {
        let (size, channels) = (self.out_size, self.out_channels);
        Padded { size, channels, before: [0; 2], after: [0; 2] }
    }

    /// `(N, OH, OW, O)`.
    #[cfg(any(feature = "cuda", test))]
    pub(crate) fn out_dims(&self) -> [usize; 4] {
        [self.n, self.out_size[0], self.out_size[1], self.out_channels]
    }

    /// Weights of one output channel.
    pub(super) fn weights_per_output(&self) -> usize {
        self.channels / self.conv.groups * self.kernel[0] * self.kernel[1]
    }

    /// The convolution itself: from the input to each output pixel.
    pub(super) fn forward(&self) -> Gather {
        let Conv { stride, padding, dilation, .. } = self.conv;
        let before = [padding[0], padding[1]];
        let reach = [0, 1].map(|axis| (self.kernel[axis] - 1) * dilation[axis] + 1);
        let after = [0, 1].map(|axis| {
            let furthest = (self.out_size[axis] - 1) * stride[axis] + reach[axis];
            furthest.saturating_sub(self.size[axis] + before[axis])
        });
        let source = Padded { size: self.size, channels: self.channels, before, after };
        let pixels = || grid(self.out_size);
        let scaled = |[y, x]: [usize; 2], by: [usize; 2]| source.offset([y * by[0], x * by[1]]);
        Gather {
            in_offsets: pixels().map(|pixel| scaled(pixel, stride)).collect(),
            out_offsets: (0..self.out_size[0] * self.out_size[1])
                .map(|pixel| pixel * self.out_channels)
                .collect(),
            taps: grid(self.kernel)
                .map(|position| Tap { position, offset: scaled(position, dilation) })
                .collect(),
            size: self.out_size,
            in_rows: stride[0],
            out_rows: 1,
            reach: reach[0],
            source,
        }
    }

    /// The input gradient: from the output's gradient to the input pixels, one sum for each
    /// remainder of row and column by the stride.
    ///
    /// Input pixel `i = s t + r` meets tap `k`, `d` pixels from the next, in output pixel
    /// `(i + padding - d k) / s`, where that is whole: at `t + (r + padding - d k) / s`.
    pub(super) fn backward(&self) -> Vec<Gather> {
        let stride = self.conv.stride;
        let axes = [0, 1].map(|axis| self.backward_axis(axis));
        let source = Padded {
            size: self.out_size,
            channels: self.out_channels,
            before: [axes[0].before, axes[1].before],
            after: [axes[0].after, axes[1].after],
        };
        let phase = |[ry, rx]: [usize; 2]| {
            let (rows, cols) = (&axes[0].phases[ry], &axes[1].phases[rx]);
            let size = [rows.n_pixels, cols.n_pixels];
            let pixels = || grid(size);
            let out_offset = |[y, x]: [usize; 2]| {
                ((y * stride[0] + ry) * self.size[1] + x * stride[1] + rx) * self.channels
            };
            let mut taps: Vec<Tap> = grid([rows.taps.len(), cols.taps.len()])
                .map(|[i, j]| {
                    let ((ky, y), (kx, x)) = (rows.taps[i], cols.taps[j]);
                    Tap { position: [ky, kx], offset: source.offset([y, x]) }
                })
                .collect();
            taps.sort_by_key(|tap| tap.offset);
            Gather {
                source,
                in_offsets: pixels().map(|p| source.offset(p)).collect(),
                out_offsets: pixels().map(out_offset).collect(),
                taps,
                size,
                in_rows: 1,
                out_rows: stride[0],
                reach: rows.taps.iter().map(|(_, y)| y + 1).max().unwrap_or(0),
            }
        };
        grid([stride[0].min(self.size[0]), stride[1].min(self.size[1])]).map(phase).collect()
    }

    fn backward_axis(&self, axis: usize) -> Axis {
        let (s, size, out) = (self.conv.stride[axis], self.size[axis], self.out_size[axis]);
        let (padding, dilation) = (self.conv.padding[axis], self.conv.dilation[axis]);
        // (tap, distance) for each remainder; distances may be negative until margins are known.
        let taps_of = |r: usize| {
            let way = move |k: usize| (r + padding) as isize - (k * dilation) as isize;
            let whole = move |k: &usize| way(*k).rem_euclid(s as isize) == 0;
            (0..self.kernel[axis]).filter(whole).map(move |k| (k, way(k) / s as isize))
        };
        let n_pixels = |r: usize| (size - r).div_ceil(s);
        let remainders = 0..s.min(size);
        let least = remainders.clone().flat_map(taps_of).map(|(_, d)| d).min().unwrap_or(0);
        let before = (-least).max(0);
        let last = |r: usize| taps_of(r).map(move |(_, d)| n_pixels(r) as isize - 1 + d);
        let reach = remainders.clone().flat_map(last).max().unwrap_or(0);
        let after = (reach - (out as isize - 1)).max(0) as usize;
        let phase = |r| Phase {
            n_pixels: n_pixels(r),
            taps: taps_of(r).map(|(k, d)| (k, (d + before) as usize)).collect(),
        };
        Axis { before: before as usize, after, phases: remainders.map(phase).collect() }
    }
}

/// One direction of the input gradient.
struct Axis {
    before: usize,
    after: usize,
    phases: Vec<Phase>,
}

/// The pixels of one remainder, and the taps that they meet with their distances.
struct Phase {
    n_pixels: usize,
    taps: Vec<(usize, usize)>,
}

impl Padded {
    /// Values of the image with its margins.
    pub(super) fn len(&self) -> usize {
        let [height, width] = [0, 1].map(|i| self.before[i] + self.size[i] + self.after[i]);
        height * width * self.channels
    }

    /// Values of the image without its margins.
    pub(super) fn image_len(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    /// Whether there are margins at all.
    pub(super) fn has_margins(&self) -> bool {
        self.before != [0, 0] || self.after != [0, 0]
    }

    /// Where the pixel `[y, x]`, counted from the margin's corner, begins.
    pub(super) fn offset(&self, [y, x]: [usize; 2]) -> usize {
        let width = self.before[1] + self.size[1] + self.after[1];
        (y * width + x) * self.channels
    }

    /// Rows of the image with its margins.
    pub(super) fn n_rows(&self) -> usize {
        self.before[0] + self.size[0] + self.after[0]
    }

    /// Copies rows of an image of `source` (without margins), from row `first` on, to `to` (with
    /// margins, which rows are counted with); for loops that are vectorized.
    #[inline(always)]
    pub(super) fn copy(&self, source: &Source, image: usize, first: usize, to: &mut [f32]) {
        let row = self.size[1] * self.channels;
        let stride = self.offset([1, 0]);
        let left = self.before[1] * self.channels;
        let start = image * self.image_len();
        if row == stride {
            // Without margins to the sides all rows are one.
            let n_rows = to.len() / row;
            let above = self.before[0].saturating_sub(first).min(n_rows);
            let skipped = first.saturating_sub(self.before[0]).min(self.size[0]);
            let inside = (n_rows - above).min(self.size[0] - skipped);
            to[..above * row].fill(0.0);
            to[(above + inside) * row..].fill(0.0);
            source.copy(start + skipped * row, &mut to[above * row..][..inside * row]);
            return;
        }
        for (y, to) in (first..).zip(to.chunks_exact_mut(stride)) {
            if y < self.before[0] || y >= self.before[0] + self.size[0] {
                to.fill(0.0);
                continue;
            }
            to[..left].fill(0.0);
            source.copy(start + (y - self.before[0]) * row, &mut to[left..left + row]);
            to[left + row..].fill(0.0);
        }
    }

    /// Copies the image `from` (with margins) to `image` (without margins).
    pub(super) fn copy_back(&self, from: &[f32], image: &mut [f32]) {
        let rows = from.chunks_exact(self.offset([1, 0])).skip(self.before[0]);
        let row = self.size[1] * self.channels;
        for (to, from) in image.chunks_exact_mut(row).zip(rows) {
            to.copy_from_slice(&from[self.before[1] * self.channels..][..row]);
        }
    }
}

impl Gather {
    /// Where in `n_images` images the windows of their pixels begin.
    pub(super) fn in_places(&self, n_images: usize) -> Vec<usize> {
        repeated(&self.in_offsets, (n_images, self.source.len()))
    }

    /// Where in `n_images` images of `len` values the pixels are written.
    pub(super) fn out_places(&self, n_images: usize, len: usize) -> Vec<usize> {
        repeated(&self.out_offsets, (n_images, len))
    }

    /// The runs of source values that a window of channel group `group` of `groups` reads, in the
    /// order of the taps; neighbors are joined.
    pub(super) fn runs(&self, group: usize, groups: usize) -> Vec<Run> {
        let len = self.source.channels / groups;
        let mut runs: Vec<Run> = Vec::new();
        for tap in &self.taps {
            let start = tap.offset + group * len;
            match runs.last_mut() {
                Some(run) if run.start + run.len == start => run.len += len,
                _ => runs.push(Run { start, len }),
            }
        }
        runs
    }
}

/// The offsets of all images, each `len` values behind the one before.
fn repeated(offsets: &[usize], (n_images, len): (usize, usize)) -> Vec<usize> {
    let mut all = Vec::with_capacity(n_images * offsets.len());
    for image in 0..n_images {
        all.extend(offsets.iter().map(|offset| image * len + offset));
    }
    all
}

/// All `[y, x]` below `size`, row by row.
fn grid([height, width]: [usize; 2]) -> impl Iterator<Item = [usize; 2]> {
    (0..height).flat_map(move |y| (0..width).map(move |x| [y, x]))
}
