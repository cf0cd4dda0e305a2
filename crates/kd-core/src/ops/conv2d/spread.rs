//! The channels of small groups, brought to where each output channel finds its own.

use super::geometry::{Gather, Geometry, Padded, Tap};
use super::pack::Direction;
use crate::scratch::with_buffer;
use crate::simd::vectorized;

/// Source channels of a group up to which spreading them costs less than half-filled vectors.
const FEW: usize = 4;
/// Output channels of a group below which a vector of them is not filled.
const NARROW: usize = 8;

/// How the channels of groups are spread: for each source channel of a group, all output channels,
/// each with the value that it meets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spread {
    /// Groups, and the source and output channels of each.
    groups: usize,
    from: usize,
    to: usize,
}

impl Spread {
    /// If the convolution is one that this way is for.
    pub(super) fn new(geometry: &Geometry, direction: Direction) -> Option<Self> {
        let groups = geometry.conv.groups;
        let (inputs, outputs) = (geometry.channels / groups, geometry.out_channels / groups);
        let (from, to) = match direction {
            Direction::Forward => (inputs, outputs),
            Direction::Backward => (outputs, inputs),
        };
        let suits = groups > 1 && (from <= FEW || to < NARROW);
        suits.then_some(Self { groups, from, to })
    }

    /// Output channels.
    pub(super) fn n_channels(&self) -> usize {
        self.groups * self.to
    }

    /// Whether every channel stays where it is: a depthwise convolution.
    pub(super) fn is_none(&self) -> bool {
        (self.from, self.to) == (1, 1)
    }

    /// Values of a spread pixel.
    fn pixel(&self) -> usize {
        self.from * self.n_channels()
    }

    /// Values that `len` values become.
    pub(super) fn len(&self, len: usize) -> usize {
        len / (self.groups * self.from) * self.pixel()
    }

    /// Values in the cache for `len` values of the source.
    pub(super) fn cached(&self, len: usize) -> usize {
        if self.is_none() { len } else { len + self.len(len) }
    }

    /// The same sums from spread images.
    pub(super) fn gather(&self, gather: &Gather) -> Gather {
        let tap = |tap: &Tap| Tap { offset: self.len(tap.offset), ..*tap };
        Gather {
            source: Padded { channels: self.pixel(), ..gather.source },
            in_offsets: gather.in_offsets.iter().map(|offset| self.len(*offset)).collect(),
            taps: gather.taps.iter().map(tap).collect(),
            ..gather.clone()
        }
    }

    /// Where in a spread window each tap's source channels begin, tap by tap.
    pub(super) fn taps(&self, gather: &Gather) -> Vec<usize> {
        let channels = |tap: &Tap| {
            let first = self.len(tap.offset);
            (0..self.from).map(move |i| first + i * self.n_channels())
        };
        gather.taps.iter().flat_map(channels).collect()
    }

    /// Calls `f` with the place in `taps x channels` of every weight, and that in PyTorch's order.
    pub(super) fn each_weight(
        &self,
        geometry: &Geometry,
        gather: &Gather,
        direction: Direction,
        mut f: impl FnMut(usize, usize),
    ) {
        let n_positions = geometry.kernel[0] * geometry.kernel[1];
        let mut place = 0;
        for tap in &gather.taps {
            let position = tap.position[0] * geometry.kernel[1] + tap.position[1];
            for i in 0..self.from {
                for group in 0..self.groups {
                    for j in 0..self.to {
                        let row = match direction {
                            Direction::Forward => (group * self.to + j) * self.from + i,
                            Direction::Backward => (group * self.from + i) * self.to + j,
                        };
                        f(place, row * n_positions + position);
                        place += 1;
                    }
                }
            }
        }
    }

    /// Calls `f` with `x`, spread.
    pub(super) fn with(&self, x: &[f32], f: impl FnOnce(&[f32])) {
        if self.is_none() {
            return f(x);
        }
        with_buffer(self.len(x.len()), |wide| {
            vectorized(
                #[inline(always)]
                || self.apply(x, wide),
            );
            f(wide);
        });
    }

    /// Spreads `x` to `out`; for loops that are vectorized.
    #[inline(always)]
    fn apply(&self, x: &[f32], out: &mut [f32]) {
        match (self.from, self.to) {
            (1, 2) => self.widths::<1, 2>(x, out),
            (2, 2) => self.widths::<2, 2>(x, out),
            (4, 4) => self.widths::<4, 4>(x, out),
            _ => self.any(x, out),
        }
    }

    #[inline(always)]
    fn widths<const FROM: usize, const TO: usize>(&self, x: &[f32], out: &mut [f32]) {
        let n = self.n_channels();
        let pixels = x.chunks_exact(self.groups * FROM).zip(out.chunks_exact_mut(FROM * n));
        for (x, out) in pixels {
            let groups = x.as_chunks::<FROM>().0;
            for (i, out) in out.chunks_exact_mut(n).enumerate() {
                for (x, out) in groups.iter().zip(out.as_chunks_mut::<TO>().0) {
                    *out = [x[i]; TO];
                }
            }
        }
    }

    #[inline(always)]
    fn any(&self, x: &[f32], out: &mut [f32]) {
        let n = self.n_channels();
        let pixels =
            x.chunks_exact(self.groups * self.from).zip(out.chunks_exact_mut(self.pixel()));
        for (x, out) in pixels {
            for (i, out) in out.chunks_exact_mut(n).enumerate() {
                for (x, out) in x.chunks_exact(self.from).zip(out.chunks_exact_mut(self.to)) {
                    out.fill(x[i]);
                }
            }
        }
    }
}
