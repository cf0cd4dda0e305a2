//! Batch norm's passes over activations: statistics, normalization, and the two of the backward.
//!
//! Sums are formed in f32 within a task of fixed size, and in f64 over tasks in the order of the
//! rows: the result does not depend on the thread count.

use rayon::prelude::*;

use crate::simd::vectorized;

use crate::ops::channels::{mask, task_len};

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
        let [mut mean, mut sum, mut squares] = [0; 3].map(|_| vec![0.0f32; n_channels]);
        vectorized(
            #[inline(always)]
            || {
                for row in rows.chunks_exact(n_channels) {
                    for (sum, y) in mean.iter_mut().zip(row) {
                        *sum += y;
                    }
                }
                for sum in &mut mean {
                    *sum /= n;
                }
                for row in rows.chunks_exact(n_channels) {
                    let sums = sum.iter_mut().zip(&mut squares);
                    for (((sum, squares), y), mean) in sums.zip(row).zip(&mean) {
                        *sum += y - mean;
                        *squares += (y - mean) * (y - mean);
                    }
                }
            },
        );
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
    pub(crate) fn finish(&self) -> (Vec<f32>, Vec<f32>, usize) {
        let mean = self.mean.iter().map(|mean| *mean as f32).collect();
        let variance = self.deviation.iter().map(|d| (d / self.n) as f32).collect();
        (mean, variance, self.n as usize)
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

    /// `relu?(scale y + shift + residual)`, for all rows.
    pub(crate) fn apply(&self, rows: &[f32], residual: Option<&[f32]>, relu: bool) -> Vec<f32> {
        let n_channels = self.scale.len();
        let len = task_len(n_channels);
        let mut out = vec![0.0; rows.len()];
        out.par_chunks_mut(len).enumerate().for_each(|(i, out)| {
            let range = i * len..i * len + out.len();
            let residual = residual.map(|residual| &residual[range.clone()]);
            vectorized(
                #[inline(always)]
                || self.apply_task(&rows[range], residual, relu, out),
            );
        });
        out
    }

    /// Loops, not closures: what is not inlined here is not compiled for the processor's vectors.
    #[inline(always)]
    fn apply_task(&self, rows: &[f32], residual: Option<&[f32]>, relu: bool, out: &mut [f32]) {
        let n = self.scale.len();
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        let rows = out.chunks_exact_mut(n).zip(rows.chunks_exact(n));
        let Some(residual) = residual else {
            for (out, row) in rows {
                let affine = self.scale.iter().zip(&self.shift);
                for ((out, y), (scale, shift)) in out.iter_mut().zip(row).zip(affine) {
                    *out = y.mul_add(*scale, *shift).max(floor);
                }
            }
            return;
        };
        for ((out, row), residual) in rows.zip(residual.chunks_exact(n)) {
            let affine = self.scale.iter().zip(&self.shift);
            let values = out.iter_mut().zip(row).zip(residual);
            for (((out, y), r), (scale, shift)) in values.zip(affine) {
                *out = (y.mul_add(*scale, *shift) + r).max(floor);
            }
        }
    }
}

/// The gradient that comes in: before ReLU where the output is given.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) grad: &'a [f32],
    /// The output of the ReLU that followed.
    pub(crate) relu: Option<&'a [f32]>,
}

impl<'a> Incoming<'a> {
    fn task(self, start: usize, len: usize) -> Self {
        let part = |values: &'a [f32]| &values[start..start + len];
        Self { grad: part(self.grad), relu: self.relu.map(part) }
    }
}

/// For each channel the sums of `g` and of `g (y - mean)` over all rows.
pub(crate) fn grad_sums(incoming: Incoming<'_>, rows: &[f32], mean: &[f32]) -> [Vec<f32>; 2] {
    let n_channels = mean.len();
    let len = task_len(n_channels);
    let task = |(i, rows): (usize, &[f32])| {
        let incoming = incoming.task(i * len, rows.len());
        let mut sums = [vec![0.0f32; n_channels], vec![0.0f32; n_channels]];
        vectorized(
            #[inline(always)]
            || match incoming.relu {
                None => add_rows::<false>(&mut sums, (rows, incoming.grad, incoming.grad), mean),
                Some(out) => add_rows::<true>(&mut sums, (rows, incoming.grad, out), mean),
            },
        );
        sums
    };
    let parts: Vec<_> = rows.par_chunks(len).enumerate().map(task).collect();
    [0, 1].map(|i| {
        let total = |c: usize| parts.iter().map(|part| f64::from(part[i][c])).sum::<f64>() as f32;
        (0..n_channels).map(total).collect()
    })
}

#[inline(always)]
fn add_rows<const RELU: bool>(
    [sum_g, sum_gy]: &mut [Vec<f32>; 2],
    (rows, grad, out): (&[f32], &[f32], &[f32]),
    mean: &[f32],
) {
    let n = mean.len();
    let rows = rows.chunks_exact(n).zip(grad.chunks_exact(n)).zip(out.chunks_exact(n));
    for ((y, g), out) in rows {
        let sums = sum_g.iter_mut().zip(sum_gy.iter_mut()).zip(mean);
        for ((((sum_g, sum_gy), mean), (y, g)), out) in sums.zip(y.iter().zip(g)).zip(out) {
            let g = if !RELU || *out > 0.0 { *g } else { 0.0 };
            *sum_g += g;
            *sum_gy += g * (y - mean);
        }
    }
}

/// `a g + b y + c` for each channel: the gradient of what was normalized. Also `g` itself, to
/// `residual` where it is given: the gradient of the residual.
pub(crate) fn grad_rows(
    incoming: Incoming<'_>,
    rows: &[f32],
    abc: [&[f32]; 3],
    residual: Option<&mut [f32]>,
) -> Vec<f32> {
    let len = task_len(abc[0].len());
    let mut grad = vec![0.0; rows.len()];
    let task = |i: usize, to: &mut [f32], residual: Option<&mut [f32]>| {
        let rows = &rows[i * len..][..to.len()];
        let incoming = incoming.task(i * len, rows.len());
        vectorized(
            #[inline(always)]
            || {
                match incoming.relu {
                    None => to.copy_from_slice(incoming.grad),
                    Some(out) => mask(to, incoming.grad, out),
                }
                if let Some(residual) = residual {
                    residual.copy_from_slice(to);
                }
                combine_rows(to, rows, abc);
            },
        );
    };
    match residual {
        None => grad.par_chunks_mut(len).enumerate().for_each(|(i, to)| task(i, to, None)),
        Some(residual) => grad
            .par_chunks_mut(len)
            .zip(residual.par_chunks_mut(len))
            .enumerate()
            .for_each(|(i, (to, residual))| task(i, to, Some(residual))),
    }
    grad
}

#[inline(always)]
fn combine_rows(to: &mut [f32], rows: &[f32], [a, b, c]: [&[f32]; 3]) {
    let n = a.len();
    for (to, y) in to.chunks_exact_mut(n).zip(rows.chunks_exact(n)) {
        for ((((to, y), a), b), c) in to.iter_mut().zip(y).zip(a).zip(b).zip(c) {
            *to = a.mul_add(*to, b.mul_add(*y, *c));
        }
    }
}
