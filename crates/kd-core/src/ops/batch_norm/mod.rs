//! Batch norm (Ioffe, Szegedy 2015).
//!
//! Key decision: as a layer it is joined with the convolution before it, the residual sum and the
//! ReLU after it (`layer/norm.rs`): statistics are taken while the convolution's output is in the
//! cache, and the backward turns that output into its own gradient, in place.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod op;

pub use op::BatchNorm;

use super::affine::Slope;

/// Statistics of a batch, by channel.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchStats {
    /// Mean of the values.
    pub mean: Vec<f32>,
    /// Their variance, divided by their number.
    pub variance: Vec<f32>,
    /// Their number.
    pub n: usize,
}

impl BatchStats {
    /// The variance divided by `n - 1`, which PyTorch averages into `running_var`.
    pub fn unbiased_variance(&self) -> Vec<f32> {
        let factor = self.n as f32 / (self.n as f32 - 1.0).max(1.0);
        self.variance.iter().map(|v| v * factor).collect()
    }
}

/// How the gradient flows back through a batch's normalization, by what `sums` of [`cpu::grad_sums`] say of
/// the whole batch. With `x^ = (x - mean) r`, `r = 1 / sqrt(variance + eps)`:
/// `dx = gamma r (g - mean(g) - x^ mean(g x^))`.
pub(crate) fn slope(sums: &[f64], stats: &BatchStats, (gamma, eps): (&[f32], f32)) -> Slope {
    let n = stats.n.max(1) as f32;
    let (sum, centered_sum) = sums.split_at(gamma.len());
    let inverse = |c: usize| 1.0 / (stats.variance[c] + eps).sqrt();
    let channels = || 0..gamma.len();
    let a: Vec<f32> = channels().map(|c| gamma[c] * inverse(c)).collect();
    let slope = |c: usize| -a[c] * inverse(c).powi(2) * centered_sum[c] as f32 / n;
    let b: Vec<f32> = channels().map(slope).collect();
    let shift = |c: usize| -a[c] * sum[c] as f32 / n - b[c] * stats.mean[c];
    let c = channels().map(shift).collect();
    Slope { a, b, c }
}

/// The gradients of gamma and beta by the same sums, of some rows of the batch: `dgamma = sum g x^`,
/// `dbeta = sum g`.
pub(crate) fn to_gamma_and_beta(sums: &[f64], stats: &BatchStats, eps: f32) -> [Vec<f32>; 2] {
    let (sum, centered_sum) = sums.split_at(stats.variance.len());
    let inverse = |c: usize| 1.0 / (stats.variance[c] + eps).sqrt();
    let to_gamma = centered_sum.iter().enumerate().map(|(c, sum)| *sum as f32 * inverse(c));
    [to_gamma.collect(), sum.iter().map(|sum| *sum as f32).collect()]
}

#[cfg(test)]
mod tests;
