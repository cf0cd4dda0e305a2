//! Batch norm's passes over activations: statistics, normalization, and the two of the backward.
//!
//! Sums are formed in f32 within a task of fixed size, and in f64 over tasks in the order of the
//! rows: the result does not depend on the thread count.

use pulp::Arch;
use rayon::prelude::*;

use crate::ops::channels::task_len;

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
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for row in rows.chunks_exact(n_channels) {
                    mean.iter_mut().zip(row).for_each(|(sum, y)| *sum += y);
                }
                mean.iter_mut().for_each(|sum| *sum /= n);
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
            Arch::new().dispatch(
                #[inline(always)]
                || self.apply_task(&rows[range], residual, relu, out),
            );
        });
        out
    }

    #[inline(always)]
    fn apply_task(&self, rows: &[f32], residual: Option<&[f32]>, relu: bool, out: &mut [f32]) {
        let n_channels = self.scale.len();
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        let both = out.chunks_exact_mut(n_channels).zip(rows.chunks_exact(n_channels));
        let affine = || self.scale.iter().zip(&self.shift);
        match residual {
            None => both.for_each(|(out, row)| {
                for ((out, y), (scale, shift)) in out.iter_mut().zip(row).zip(affine()) {
                    *out = y.mul_add(*scale, *shift).max(floor);
                }
            }),
            Some(residual) => both.zip(residual.chunks_exact(n_channels)).for_each(
                #[inline(always)]
                |((out, row), residual)| {
                    let row = out.iter_mut().zip(row).zip(residual);
                    for (((out, y), r), (scale, shift)) in row.zip(affine()) {
                        *out = (y.mul_add(*scale, *shift) + r).max(floor);
                    }
                },
            ),
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

    /// Calls `f(channel, g, y)` for all values of `rows`, `g` being the gradient before ReLU.
    #[inline(always)]
    fn rows(
        self,
        rows: &[f32],
        n_channels: usize,
        mut f: impl FnMut(&[f32], &[f32], Option<&[f32]>),
    ) {
        let rows = rows.chunks_exact(n_channels).zip(self.grad.chunks_exact(n_channels));
        match self.relu {
            None => rows.for_each(|(y, g)| f(y, g, None)),
            Some(out) => {
                rows.zip(out.chunks_exact(n_channels)).for_each(|((y, g), out)| f(y, g, Some(out)))
            }
        }
    }
}

/// For each channel the sums of `g` and of `g (y - mean)` over all rows.
pub(crate) fn grad_sums(incoming: Incoming<'_>, rows: &[f32], mean: &[f32]) -> [Vec<f32>; 2] {
    let n_channels = mean.len();
    let len = task_len(n_channels);
    let task = |(i, rows): (usize, &[f32])| {
        let mut sums = [vec![0.0f32; n_channels], vec![0.0f32; n_channels]];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let [sum_g, sum_gy] = &mut sums;
                incoming.task(i * len, rows.len()).rows(
                    rows,
                    n_channels,
                    #[inline(always)]
                    |y, g, out| add_row((sum_g, sum_gy), (y, g, out), mean),
                );
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
fn add_row(
    (sum_g, sum_gy): (&mut [f32], &mut [f32]),
    (y, g, out): (&[f32], &[f32], Option<&[f32]>),
    mean: &[f32],
) {
    let sums = sum_g.iter_mut().zip(sum_gy).zip(mean).zip(y);
    match out {
        None => {
            for ((((sum_g, sum_gy), mean), y), g) in sums.zip(g) {
                *sum_g += g;
                *sum_gy += g * (y - mean);
            }
        }
        Some(out) => {
            for (((((sum_g, sum_gy), mean), y), g), out) in sums.zip(g).zip(out) {
                let g = if *out > 0.0 { *g } else { 0.0 };
                *sum_g += g;
                *sum_gy += g * (y - mean);
            }
        }
    }
}

/// `a g + b y + c` for each channel: the gradient of what was normalized. Also `g` itself where
/// `residual` is given, the gradient of the residual.
pub(crate) fn grad_rows(
    incoming: Incoming<'_>,
    rows: &[f32],
    [a, b, c]: [&[f32]; 3],
    residual: Option<&mut [f32]>,
) -> Vec<f32> {
    let n_channels = a.len();
    let len = task_len(n_channels);
    let mut grad = vec![0.0; rows.len()];
    let task = |i: usize, to: &mut [f32], mut residual: Option<&mut [f32]>| {
        let rows = &rows[i * len..][..to.len()];
        let mut to = to.chunks_exact_mut(n_channels);
        let mut residual = residual.as_mut().map(|r| r.chunks_exact_mut(n_channels));
        Arch::new().dispatch(
            #[inline(always)]
            || {
                incoming.task(i * len, rows.len()).rows(
                    rows,
                    n_channels,
                    #[inline(always)]
                    |y, g, out| {
                        let Some(to) = to.next() else { return };
                        masked(g, out, to);
                        if let Some(residual) = residual.as_mut().and_then(Iterator::next) {
                            residual.copy_from_slice(to);
                        }
                        for ((((to, y), a), b), c) in to.iter_mut().zip(y).zip(a).zip(b).zip(c) {
                            *to = a.mul_add(*to, b.mul_add(*y, *c));
                        }
                    },
                );
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
fn masked(g: &[f32], out: Option<&[f32]>, to: &mut [f32]) {
    match out {
        None => to.copy_from_slice(g),
        Some(out) => {
            for ((to, g), out) in to.iter_mut().zip(g).zip(out) {
                *to = if *out > 0.0 { *g } else { 0.0 };
            }
        }
    }
}
