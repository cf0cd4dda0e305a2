//! The mask of dropout, drawn from a counter-based stream.

use crate::Stream;
use crate::simd::vectorized;
use crate::tasks::each;

/// Values per call of the mask; a multiple of the 128 that one wide block covers.
const BLOCK: usize = 1 << 14;
/// Philox blocks computed side by side, one per SIMD lane.
const LANES: usize = 16;
/// Values that `LANES` blocks of four words of two halves cover.
const WIDE: usize = LANES * 8;

/// Which values are kept, and by what they are multiplied.
pub(crate) struct Mask {
    pub(super) stream: Stream,
    /// A value is dropped when its 16 random bits are below this.
    pub(super) threshold: u32,
    pub(super) scale: f32,
}

impl Mask {
    pub(crate) fn new(p: f32, stream: Stream) -> Self {
        Self { stream, threshold: (p * 65_536.0).round() as u32, scale: 1.0 / (1.0 - p) }
    }

    /// Multiplies the `values` at positions `first..` by the mask, in parallel.
    pub(crate) fn apply(&self, first: usize, values: &mut [f32]) {
        let n_before = first.next_multiple_of(WIDE) - first;
        let (before, rest) = values.split_at_mut(n_before.min(values.len()));
        if !before.is_empty() {
            let factors = self.factors(first / WIDE);
            before.iter_mut().zip(&factors[first % WIDE..]).for_each(|(v, factor)| *v *= factor);
        }
        each(rest.chunks_mut(BLOCK).enumerate(), |(i, block)| {
            vectorized(
                #[inline(always)]
                || self.apply_block(first + n_before + i * BLOCK, block),
            );
        });
    }

    /// Multiplies the values at positions `first..` (a multiple of [`WIDE`]) by the mask.
    #[inline(always)]
    fn apply_block(&self, first: usize, values: &mut [f32]) {
        for (i, values) in values.chunks_mut(WIDE).enumerate() {
            for (value, factor) in values.iter_mut().zip(&self.factors(first / WIDE + i)) {
                *value *= factor;
            }
        }
    }

    /// The mask at the [`WIDE`] positions of number `i`.
    #[inline(always)]
    fn factors(&self, i: usize) -> [f32; WIDE] {
        let words = self.stream.wide_block::<LANES>((i * LANES) as u64);
        let mut factors = [0.0; WIDE];
        for (word, factors) in words.iter().zip(factors.chunks_exact_mut(2 * LANES)) {
            let (low, high) = factors.split_at_mut(LANES);
            for lane in 0..LANES {
                low[lane] = self.factor(word[lane] & 0xffff);
                high[lane] = self.factor(word[lane] >> 16);
            }
        }
        factors
    }

    #[inline(always)]
    fn factor(&self, bits: u32) -> f32 {
        if bits < self.threshold { 0.0 } else { self.scale }
    }
}
