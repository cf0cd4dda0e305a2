//! Batch norm's statistics of activations, and the sums of its backward.
//!
//! Sums are formed in f32 within a task of fixed size, and in f64 over tasks in the order of the
//! rows: the result does not depend on the thread count.

use rayon::prelude::*;

use super::BatchStats;
use crate::ops::channels::{narrowed, task_len, widened};
use crate::simd::vectorized;

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
        if other.n < 1.0 {
            return self;
        }
        let pairs = self.mean.iter_mut().zip(&mut self.deviation);
        for ((mean, deviation), (m, d)) in pairs.zip(other.mean.iter().zip(&other.deviation)) {
            let difference = m - *mean;
            *deviation += d + difference * difference * self.n * other.n / n;
            *mean += difference * other.n / n;
        }
        Self { n, ..self }
    }

    /// Of no rows.
    pub(crate) fn none(n_channels: usize) -> Self {
        Self { n: 0.0, mean: vec![0.0; n_channels], deviation: vec![0.0; n_channels] }
    }

    /// As numbers, to be sent to another process.
    pub(crate) fn to_numbers(&self) -> Vec<f64> {
        [&[self.n], &self.mean[..], &self.deviation].concat()
    }

    /// What [`Moments::to_numbers`] gave.
    pub(crate) fn of_numbers(numbers: &[f64]) -> Self {
        let (mean, deviation) = numbers[1..].split_at(numbers.len() / 2);
        Self { n: numbers[0], mean: mean.to_vec(), deviation: deviation.to_vec() }
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
    let Some((first, rest)) = parts.split_first() else { return Moments::none(n_channels) };
    rest.iter().fold(first.clone(), Moments::join)
}

/// For each channel the sums of `g`, and then those of `g (y - mean)`, over all rows.
pub(crate) fn grad_sums(grad: &[f32], rows: &[f32], mean: &[f32]) -> Vec<f64> {
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
    let total = |i: usize, c: usize| parts.iter().map(|part| f64::from(part[i][c])).sum::<f64>();
    [0, 1]
        .into_iter()
        .flat_map(|i| (0..n_channels).map(move |c| (i, c)))
        .map(|(i, c)| total(i, c))
        .collect()
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
