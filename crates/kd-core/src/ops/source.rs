//! What a convolution reads: values in memory, or computed from them on their way into the cache.
//!
//! Key decision: batch norm's two maps, `clamp(scale v + shift)` in the forward and
//! `a g + b v + c` in the backward, write nothing of their own. The convolution that reads their
//! result copies each block of images into the cache anyway, with margins, and computes them then.

use crate::act::{Buffer, Clamp};
use crate::ops::affine::{Affine, Slope};
use crate::ops::channels::{task_len, widened};
use crate::simd::vectorized;
use crate::tasks::each;

/// Values of images, `(N, H, W, C)`.
pub(crate) enum Source<'a> {
    /// As they are, after `clamp`.
    Plain(&'a [f32], Clamp),
    /// `clamp(scale v + shift)` for each channel.
    Norm { rows: &'a [f32], scale: Vec<f32>, shift: Vec<f32>, clamp: Clamp },
    /// `a g + b v + c` for each channel: the gradient of what was normalized.
    NormGrad { grad: &'a [f32], rows: &'a [f32], abc: [Vec<f32>; 3] },
}

impl<'a> Source<'a> {
    /// `clamp(affine(rows))`.
    pub(crate) fn norm(rows: &'a [f32], affine: &Affine, clamp: Clamp) -> Self {
        let (scale, shift) = (widened(&affine.scale), widened(&affine.shift));
        Self::Norm { rows, scale, shift, clamp }
    }

    /// The gradient of `rows`, which were normalized, from that of the result.
    pub(crate) fn norm_grad(grad: &'a [f32], rows: &'a [f32], slope: &Slope) -> Self {
        Self::NormGrad { grad, rows, abc: [&slope.a, &slope.b, &slope.c].map(|v| widened(v)) }
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(values, _) | Self::Norm { rows: values, .. } => values.len(),
            Self::NormGrad { grad, .. } => grad.len(),
        }
    }

    /// All values, of `n_channels` channels.
    pub(crate) fn to_buffer(&self, n_channels: usize) -> Buffer {
        let mut out = Buffer::take(self.len());
        let len = task_len(n_channels);
        each(out.chunks_mut(len).enumerate(), |(i, out)| {
            vectorized(
                #[inline(always)]
                || self.copy(i * len, out),
            );
        });
        out
    }

    /// Calls `f` with `len` values from `first` on, which begins a pixel; they are in memory of their own only
    /// where they must be computed, and no longer than `f` takes.
    pub(crate) fn with<T>(&self, first: usize, len: usize, f: impl FnOnce(&[f32]) -> T) -> T {
        if let Self::Plain(values, _) = self {
            return f(&values[first..][..len]);
        }
        let mut values = Buffer::take(len);
        vectorized(
            #[inline(always)]
            || self.copy(first, &mut values),
        );
        f(&values)
    }

    /// Zeros in `grad`, which belongs to the values from `first` on, where these lie at an end of the
    /// clamp that made them.
    pub(crate) fn mask(&self, first: usize, grad: &mut [f32]) {
        let range = first..first + grad.len();
        vectorized(
            #[inline(always)]
            || match self {
                Self::Plain(values, clamp) => clamp.mask(grad, &values[range]),
                Self::Norm { rows, scale, shift, clamp } => {
                    mask_norm(grad, &rows[range], (scale, shift), *clamp);
                }
                Self::NormGrad { .. } => {}
            },
        );
    }

    /// [`Source::mask`] for all values, of `n_channels` channels.
    pub(crate) fn mask_all(&self, grad: &mut [f32], n_channels: usize) {
        let len = task_len(n_channels);
        let tasks = grad.chunks_mut(len).enumerate();
        each(tasks, |(i, grad)| self.mask(i * len, grad));
    }

    /// Writes the values from `first` on, which begins a pixel, to `to`; for loops that are
    /// vectorized.
    #[inline(always)]
    pub(crate) fn copy(&self, first: usize, to: &mut [f32]) {
        let range = first..first + to.len();
        match self {
            Self::Plain(values, _) => to.copy_from_slice(&values[range]),
            Self::Norm { rows, scale, shift, clamp } => {
                norm(&rows[range], (scale, shift), *clamp, to);
            }
            Self::NormGrad { grad, rows, abc } => {
                norm_grad(&grad[range.clone()], &rows[range], abc, to);
            }
        }
    }
}

#[inline(always)]
fn norm(rows: &[f32], (scale, shift): (&[f32], &[f32]), clamp: Clamp, to: &mut [f32]) {
    for (to, rows) in to.chunks_mut(scale.len()).zip(rows.chunks(scale.len())) {
        for ((to, v), (scale, shift)) in to.iter_mut().zip(rows).zip(scale.iter().zip(shift)) {
            *to = v.mul_add(*scale, *shift).max(clamp.low).min(clamp.high);
        }
    }
}

/// A loop of its own: values that are computed only to be compared are not stored.
#[inline(always)]
fn mask_norm(
    grad: &mut [f32],
    rows: &[f32],
    (scale, shift): (&[f32], &[f32]),
    Clamp { low, high }: Clamp,
) {
    for (grad, rows) in grad.chunks_mut(scale.len()).zip(rows.chunks(scale.len())) {
        for ((g, v), (scale, shift)) in grad.iter_mut().zip(rows).zip(scale.iter().zip(shift)) {
            let y = v.mul_add(*scale, *shift);
            *g = if (y > low) & (y < high) { *g } else { 0.0 };
        }
    }
}

#[inline(always)]
fn norm_grad(grad: &[f32], rows: &[f32], [a, b, c]: &[Vec<f32>; 3], to: &mut [f32]) {
    let chunks = grad.chunks(a.len()).zip(rows.chunks(a.len()));
    for (to, (grad, rows)) in to.chunks_mut(a.len()).zip(chunks) {
        let abc = a.iter().zip(b).zip(c);
        for ((to, (g, v)), ((a, b), c)) in to.iter_mut().zip(grad.iter().zip(rows)).zip(abc) {
            *to = a.mul_add(*g, b.mul_add(*v, *c));
        }
    }
}
