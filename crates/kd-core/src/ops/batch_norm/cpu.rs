//! Batch norm's passes over activations: statistics, normalization, and the two of the backward.
//!
//! Sums are formed in f32 within a task of fixed size, and in f64 over tasks in the order of the
//! rows: the result does not depend on the thread count.

use rayon::prelude::*;

use super::BatchStats;
use crate::ops::channels::{narrowed, task_len, widened};
use crate::ops::source::Source;
use crate::simd::vectorized;
use crate::tape::Buffer;

/// Number, mean and sum of squared deviations of each channel over some rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    n: f64,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Moments {
    /// Of rows that are in the cache: two passes, exact where one pass would cancel. The second
    /// one also corrects the rounding of the first (Chan, Golub, LeVeque 1983, eq. 1.7).
    pub(crate) fn of(rows: &[f32], n_channels: usize) -> Self {
        let n = (rows.len() / n_channels) as f32;
        let [mut total, mut sum, mut squares] = [0; 3].map(|_| widened(&vec![0.0; n_channels]));
        vectorized(
            #[inline(always)]
            || {
                for row in rows.chunks(total.len()) {
                    for (total, y) in total.iter_mut().zip(row) {
                        *total += y;
                    }
                }
            },
        );
        let mean: Vec<f32> = narrowed(&total, n_channels).iter().map(|sum| sum / n).collect();
        let wide_mean = widened(&mean);
        vectorized(
            #[inline(always)]
            || {
                for row in rows.chunks(wide_mean.len()) {
                    let sums = sum.iter_mut().zip(&mut squares);
                    for (((sum, squares), y), mean) in sums.zip(row).zip(&wide_mean) {
                        *sum += y - mean;
                        *squares += (y - mean) * (y - mean);
                    }
                }
            },
        );
        let [sum, squares] = [&sum, &squares].map(|sums| narrowed(sums, n_channels));
        let n = f64::from(n);
        let wide = |(mean, sum): (&f32, &f32)| f64::from(*mean) + f64::from(*sum) / n;
        let spread =
            |(squares, sum): (&f32, &f32)| f64::from(*squares) - f64::from(*sum).powi(2) / n;
        Self {
            n,
            mean: mean.iter().zip(&sum).map(wide).collect(),
            deviation: squares.iter().zip(&sum).map(spread).collect(),
        }
    }

    /// Of two sets of rows together (Chan, Golub, LeVeque 1983).
    pub(crate) fn join(mut self, other: &Self) -> Self {
        let n = self.n + other.n;
        let pairs = self.mean.iter_mut().zip(&mut self.deviation);
        for ((mean, deviation), (m, d)) in pairs.zip(other.mean.iter().zip(&other.deviation)) {
            let difference = m - *mean;
            *deviation += d + difference * difference * self.n * other.n / n;
            *mean += difference * other.n / n;
        }
        Self { n, ..self }
    }

    /// Mean and biased variance of each channel, and the number of rows.
    pub(crate) fn finish(&self) -> BatchStats {
        let mean = self.mean.iter().map(|mean| *mean as f32).collect();
        let variance = self.deviation.iter().map(|d| (d / self.n) as f32).collect();
        BatchStats { mean, variance, n: self.n as usize }
    }
}

/// The moments of all rows.
pub(crate) fn moments(rows: &[f32], n_channels: usize) -> Moments {
    let parts = rows.par_chunks(task_len(n_channels)).map(|rows| Moments::of(rows, n_channels));
    join_all(&parts.collect::<Vec<_>>(), n_channels)
}

/// Moments of blocks of rows, joined in their order.
pub(crate) fn join_all(parts: &[Moments], n_channels: usize) -> Moments {
    let none = Moments { n: 0.0, mean: vec![0.0; n_channels], deviation: vec![0.0; n_channels] };
    let Some((first, rest)) = parts.split_first() else { return none };
    rest.iter().fold(first.clone(), Moments::join)
}

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

    /// `values` times the scale of their channel, in place: the gradient of [`Affine::apply`].
    pub(crate) fn scale(&self, rows: &mut [f32]) {
        rows.par_chunks_mut(task_len(self.scale.len())).for_each(|rows| {
            for row in rows.chunks_exact_mut(self.scale.len()) {
                row.iter_mut().zip(&self.scale).for_each(|(value, scale)| *value *= scale);
            }
        });
    }

    /// `relu?(scale y + shift)`, for all rows.
    pub(crate) fn apply(&self, rows: &[f32], relu: bool) -> Buffer {
        Source::norm(rows, self, relu).to_buffer(self.scale.len())
    }

    /// `relu?(scale y + shift + residual)`, for all rows.
    pub(crate) fn apply_and_add(&self, rows: &[f32], residual: &[f32], relu: bool) -> Buffer {
        let len = task_len(self.scale.len());
        let mut out = Buffer::take(rows.len());
        let wide = [&self.scale, &self.shift].map(|values| widened(values));
        let inputs = rows.par_chunks(len).zip(residual.par_chunks(len));
        out.par_chunks_mut(len).zip(inputs).for_each(|(out, inputs)| {
            vectorized(
                #[inline(always)]
                || add_task(&wide, inputs, relu, out),
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
    relu: bool,
    out: &mut [f32],
) {
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    let inputs = rows.chunks(scale.len()).zip(residual.chunks(scale.len()));
    for (out, (row, residual)) in out.chunks_mut(scale.len()).zip(inputs) {
        let affine = scale.iter().zip(shift);
        let values = out.iter_mut().zip(row).zip(residual);
        for (((out, y), r), (scale, shift)) in values.zip(affine) {
            *out = (y.mul_add(*scale, *shift) + r).max(floor);
        }
    }
}

/// For each channel the sums of `g` and of `g (y - mean)` over all rows.
pub(crate) fn grad_sums(grad: &[f32], rows: &[f32], mean: &[f32]) -> [Vec<f32>; 2] {
    let n_channels = mean.len();
    let len = task_len(n_channels);
    let wide_mean = widened(mean);
    let task = |(grad, rows): (&[f32], &[f32])| {
        let mut sums = [0; 2].map(|_| vec![0.0f32; wide_mean.len()]);
        vectorized(
            #[inline(always)]
            || add_rows(&mut sums, rows, grad, &wide_mean),
        );
        sums.map(|sums| narrowed(&sums, n_channels))
    };
    let parts: Vec<_> = grad.par_chunks(len).zip(rows.par_chunks(len)).map(task).collect();
    [0, 1].map(|i| {
        let total = |c: usize| parts.iter().map(|part| f64::from(part[i][c])).sum::<f64>() as f32;
        (0..n_channels).map(total).collect()
    })
}

#[inline(always)]
fn add_rows([sum_g, sum_gy]: &mut [Vec<f32>; 2], rows: &[f32], grad: &[f32], mean: &[f32]) {
    for (y, g) in rows.chunks(mean.len()).zip(grad.chunks(mean.len())) {
        let sums = sum_g.iter_mut().zip(sum_gy.iter_mut()).zip(mean);
        for (((sum_g, sum_gy), mean), (y, g)) in sums.zip(y.iter().zip(g)) {
            *sum_g += g;
            *sum_gy += g * (y - mean);
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

impl Slope {
    /// For all rows.
    pub(crate) fn apply(&self, grad: &[f32], rows: &[f32]) -> Buffer {
        Source::norm_grad(grad, rows, self).to_buffer(self.a.len())
    }
}
