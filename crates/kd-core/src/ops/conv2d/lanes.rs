//! Sums in which every output channel meets source channels of its own: depthwise convolutions,
//! and those of small groups.
//!
//! Key decision: a vector holds neighboring channels of one pixel, so that source, weights and
//! output are all read as they lie. A group's channels are brought side by side first (`spread.rs`),
//! and nothing is multiplied with zeros between groups.

use pulp::{Simd, WithSimd};

use crate::simd::constant;

/// Pixels of a tile; with two vectors of channels for each.
const HEIGHT: usize = 6;
/// Taps of a weight gradient that are summed together, with two vectors of channels for each.
const TAPS: usize = 6;

/// For each pixel `j` and channel `c`:
/// `out[out_offsets[j] + c] = sum over taps k of x[in_offsets[j] + taps[k] + c] * weights[k][c]`.
pub(super) struct LaneSum<'a> {
    /// Source images with margins.
    pub(super) x: &'a [f32],
    pub(super) in_offsets: &'a [usize],
    pub(super) out_offsets: &'a [usize],
    pub(super) taps: &'a [usize],
    /// `(taps, n_channels)`.
    pub(super) weights: &'a [f32],
    pub(super) n_channels: usize,
    pub(super) out: &'a mut [f32],
}

impl WithSimd for LaneSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let n = self.n_channels;
        assert!(furthest(self.in_offsets) + furthest(self.taps) + n <= self.x.len());
        assert!(furthest(self.out_offsets) + n <= self.out.len());
        assert_eq!(self.taps.len() * n, self.weights.len());
        for channels in chunks(n, CHUNK) {
            let (from, to) = (self.in_offsets, self.out_offsets);
            for (from, to) in from.chunks(HEIGHT).zip(to.chunks(HEIGHT)) {
                constant!(R = from.len(), HEIGHT, {
                    let (Some(from), Some(to)) = (from.first_chunk(), to.first_chunk()) else {
                        return;
                    };
                    self.tile::<S, R>(simd, from, to, channels);
                });
            }
        }
    }
}

/// Channels that are taken together: a window's pixels and their neighbors then stay in the
/// first-level cache.
const CHUNK: usize = 64;

/// First channel of each chunk, and the first behind it.
fn chunks(n_channels: usize, chunk: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n_channels).step_by(chunk).map(move |first| (first, n_channels.min(first + chunk)))
}

impl LaneSum<'_> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize>(
        &mut self,
        simd: S,
        from: &[usize; R],
        to: &[usize; R],
        (mut channel, n): (usize, usize),
    ) {
        let lanes = S::F32_LANES;
        if n < lanes {
            return self.narrow::<S, R>(simd, from, to);
        }
        while channel + 2 * lanes <= n {
            self.block::<S, R, 2>(simd, from, to, channel);
            channel += 2 * lanes;
        }
        if n - channel > lanes {
            self.block::<S, R, 1>(simd, from, to, channel);
        }
        // The last vector may overlap the one before: the same sums once more.
        if channel < n {
            self.block::<S, R, 1>(simd, from, to, n - lanes);
        }
    }

    /// `V` whole vectors of channels.
    #[inline(always)]
    fn block<S: Simd, const R: usize, const V: usize>(
        &mut self,
        simd: S,
        from: &[usize; R],
        to: &[usize; R],
        channel: usize,
    ) {
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        let n = self.n_channels;
        #[expect(unsafe_code, reason = "bounds checks would cost more than the sums")]
        // SAFETY: channel + V vectors are within n channels of a pixel, all of which lie within
        // `x`, `weights` and `out`, as `with_simd` has asserted.
        unsafe {
            let x = from.map(|place| self.x.as_ptr().add(place + channel));
            let mut weights = self.weights.as_ptr().add(channel);
            for &tap in self.taps {
                let w = read::<S, V>(weights);
                for r in 0..R {
                    let x = read::<S, V>(x[r].add(tap));
                    for v in 0..V {
                        sums[r][v] = simd.mul_add_f32s(x[v], w[v], sums[r][v]);
                    }
                }
                weights = weights.wrapping_add(n);
            }
            for r in 0..R {
                let out = self.out.as_mut_ptr().add(to[r] + channel);
                out.cast::<[S::f32s; V]>().write_unaligned(sums[r]);
            }
        }
    }

    /// All channels, where they are fewer than a vector has places.
    #[inline(always)]
    fn narrow<S: Simd, const R: usize>(&mut self, simd: S, from: &[usize; R], to: &[usize; R]) {
        let n = self.n_channels;
        for (&from, &to) in from.iter().zip(to) {
            let mut sum = simd.splat_f32s(0.0);
            for (&tap, weights) in self.taps.iter().zip(self.weights.chunks_exact(n)) {
                let x = simd.partial_load_f32s(&self.x[from + tap..][..n]);
                sum = simd.mul_add_f32s(x, simd.partial_load_f32s(weights), sum);
            }
            simd.partial_store_f32s(&mut self.out[to..][..n], sum);
        }
    }
}

/// Adds to `out[k][c]`, for all taps `k` and channels `c`, the sum over pixels of
/// `x[in_offsets[pixel] + taps[k] + c] * g[pixel][c]`.
pub(super) struct LaneWeightSum<'a> {
    /// Source images with margins.
    pub(super) x: &'a [f32],
    pub(super) in_offsets: &'a [usize],
    pub(super) taps: &'a [usize],
    /// Gradient of the output, `n_channels` for each pixel.
    pub(super) g: &'a [f32],
    pub(super) n_channels: usize,
    /// `(taps, n_channels)`.
    pub(super) out: &'a mut [f32],
}

impl WithSimd for LaneWeightSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let n = self.n_channels;
        assert!(furthest(self.in_offsets) + furthest(self.taps) + n <= self.x.len());
        assert!(self.in_offsets.len() * n <= self.g.len());
        assert_eq!(self.taps.len() * n, self.out.len());
        for channels in chunks(n, WEIGHT_CHUNK) {
            for first in (0..self.in_offsets.len()).step_by(STRIP) {
                let pixels = (first, STRIP.min(self.in_offsets.len() - first));
                self.strip(simd, pixels, channels);
            }
        }
    }
}

/// Channels and pixels of a weight gradient that are taken together: they stay in the first-level
/// cache for all taps.
const WEIGHT_CHUNK: usize = 32;
const STRIP: usize = 64;

impl LaneWeightSum<'_> {
    #[inline(always)]
    fn strip<S: Simd>(&mut self, simd: S, pixels: (usize, usize), channels: (usize, usize)) {
        let n_taps = self.taps.len().div_ceil(self.taps.len().div_ceil(TAPS).max(1)).max(1);
        for first in (0..self.taps.len()).step_by(n_taps) {
            let count = n_taps.min(self.taps.len() - first);
            constant!(T = count, TAPS, {
                self.taps::<S, T>(simd, first, pixels, channels);
            });
        }
    }

    #[inline(always)]
    fn taps<S: Simd, const T: usize>(
        &mut self,
        simd: S,
        first: usize,
        pixels: (usize, usize),
        (mut channel, n): (usize, usize),
    ) {
        let lanes = S::F32_LANES;
        let Some(taps) = self.taps[first..].first_chunk::<T>() else { return };
        let taps = (first, taps);
        if n < lanes {
            return self.narrow::<S, T>(simd, taps, pixels);
        }
        while channel + 2 * lanes <= n {
            self.block::<S, T, 2>(simd, taps, pixels, (channel, 0));
            channel += 2 * lanes;
        }
        if n - channel > lanes {
            self.block::<S, T, 1>(simd, taps, pixels, (channel, 0));
            channel += lanes;
        }
        // The last vector may overlap the one before, whose channels are not added twice.
        if channel < n {
            let start = n - lanes;
            self.block::<S, T, 1>(simd, taps, pixels, (start, channel - start));
        }
    }

    /// `T` taps of `V` vectors of channels, of which the first `skip` are known.
    #[inline(always)]
    fn block<S: Simd, const T: usize, const V: usize>(
        &mut self,
        simd: S,
        (first, taps): (usize, &[usize; T]),
        pixels: (usize, usize),
        (channel, skip): (usize, usize),
    ) {
        let n = self.n_channels;
        let mut sums = [[simd.splat_f32s(0.0); V]; T];
        #[expect(unsafe_code, reason = "bounds checks would cost more than the sums")]
        // SAFETY: channel + V vectors are within the n channels of a pixel, all of which lie within
        // `x` and `g`, as `with_simd` has asserted.
        unsafe {
            let mut g = self.g.as_ptr().add(pixels.0 * n + channel);
            let x = taps.map(|tap| self.x.as_ptr().add(tap + channel));
            for &place in &self.in_offsets[pixels.0..][..pixels.1] {
                let values = read::<S, V>(g);
                for t in 0..T {
                    let x = read::<S, V>(x[t].add(place));
                    for v in 0..V {
                        sums[t][v] = simd.mul_add_f32s(x[v], values[v], sums[t][v]);
                    }
                }
                g = g.wrapping_add(n);
            }
        }
        for t in 0..T {
            // By value: the sums would leave their registers if their address were taken.
            let sums = sums[t];
            let sums: &[f32] = &bytemuck::cast_slice(&sums)[skip..];
            let out = &mut self.out[(first + t) * n + channel + skip..][..sums.len()];
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        }
    }

    /// All channels, where they are fewer than a vector has places.
    #[inline(always)]
    fn narrow<S: Simd, const T: usize>(
        &mut self,
        simd: S,
        (first, taps): (usize, &[usize; T]),
        pixels: (usize, usize),
    ) {
        let n = self.n_channels;
        let mut sums = [simd.splat_f32s(0.0); T];
        let places = self.in_offsets.iter().zip(self.g.chunks_exact(n));
        for (&place, g) in places.skip(pixels.0).take(pixels.1) {
            let g = simd.partial_load_f32s(g);
            for t in 0..T {
                let x = simd.partial_load_f32s(&self.x[place + taps[t]..][..n]);
                sums[t] = simd.mul_add_f32s(x, g, sums[t]);
            }
        }
        for (t, sum) in sums.iter().enumerate() {
            let sum: &[f32] = bytemuck::cast_slice(std::slice::from_ref(sum));
            let out = &mut self.out[(first + t) * n..][..n];
            out.iter_mut().zip(sum).for_each(|(out, sum)| *out += sum);
        }
    }
}

fn furthest(offsets: &[usize]) -> usize {
    offsets.iter().copied().max().unwrap_or(0)
}

#[inline(always)]
#[expect(unsafe_code, reason = "vectors lie anywhere")]
/// # Safety
/// `V` vectors lie at `from`.
unsafe fn read<S: Simd, const V: usize>(from: *const f32) -> [S::f32s; V] {
    // SAFETY: asked of the caller.
    unsafe { from.cast::<[S::f32s; V]>().read_unaligned() }
}
