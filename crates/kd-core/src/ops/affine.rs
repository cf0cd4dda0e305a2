//! Batch norm's two maps of each channel, forward and backward.

use crate::act::{Buffer, Clamp};
use crate::ops::channels::{task_len, widened};
use crate::simd::vectorized;
use crate::tasks::each;

/// What multiplies and what is added to each channel.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

impl Affine {
    /// `y -> gamma (y - mean) / sqrt(variance + eps) + beta`.
    pub(crate) fn new(
        (gamma, beta): (&[f32], &[f32]),
        (mean, variance): (&[f32], &[f32]),
        eps: f32,
    ) -> Self {
        let scale: Vec<f32> =
            gamma.iter().zip(variance).map(|(gamma, v)| gamma / (v + eps).sqrt()).collect();
        let shift = beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        Self { scale, shift }
    }

    /// `values` times the scale of their channel, in place: the gradient of the map.
    pub(crate) fn scale(&self, rows: &mut [f32]) {
        each(rows.chunks_mut(task_len(self.scale.len())), |rows| {
            for row in rows.chunks_exact_mut(self.scale.len()) {
                row.iter_mut().zip(&self.scale).for_each(|(value, scale)| *value *= scale);
            }
        });
    }

    /// `clamp(scale y + shift + residual)`, for all rows.
    pub(crate) fn apply_and_add(&self, rows: &[f32], residual: &[f32], clamp: Clamp) -> Buffer {
        let len = task_len(self.scale.len());
        let mut out = Buffer::take(rows.len());
        let wide = [&self.scale, &self.shift].map(|values| widened(values));
        let inputs = rows.chunks(len).zip(residual.chunks(len));
        each(out.chunks_mut(len).zip(inputs), |(out, inputs)| {
            vectorized(
                #[inline(always)]
                || add_task(&wide, inputs, clamp, out),
            );
        });
        out
    }
}

/// Loops, not closures: what is not inlined here is not compiled for the processor's vectors.
#[inline(always)]
fn add_task(
    [scale, shift]: &[Vec<f32>; 2],
    (rows, residual): (&[f32], &[f32]),
    clamp: Clamp,
    out: &mut [f32],
) {
    let inputs = rows.chunks(scale.len()).zip(residual.chunks(scale.len()));
    for (out, (row, residual)) in out.chunks_mut(scale.len()).zip(inputs) {
        let affine = scale.iter().zip(shift);
        let values = out.iter_mut().zip(row).zip(residual);
        for (((out, y), r), (scale, shift)) in values.zip(affine) {
            *out = (y.mul_add(*scale, *shift) + r).max(clamp.low).min(clamp.high);
        }
    }
}

/// `g, v -> a g + b v + c` for each channel: from the gradient of what was normalized to that of
/// the values `v` before.
#[derive(Debug, Clone)]
pub(crate) struct Slope {
    pub(crate) a: Vec<f32>,
    pub(crate) b: Vec<f32>,
    pub(crate) c: Vec<f32>,
}
