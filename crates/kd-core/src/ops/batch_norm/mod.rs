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

/// How the gradient flows back through a batch's normalization.
pub(crate) struct Gradients {
    /// To what was normalized.
    pub(crate) slope: Slope,
    pub(crate) to_gamma: Vec<f32>,
    pub(crate) to_beta: Vec<f32>,
}

/// With `x^ = (x - mean) r`, `r = 1 / sqrt(variance + eps)`, and `rows` the values x:
/// `dx = gamma r (g - mean(g) - x^ mean(g x^))`, `dgamma = sum g x^`, `dbeta = sum g`.
pub(crate) fn gradients(
    grad: &[f32],
    rows: &[f32],
    stats: &BatchStats,
    (gamma, eps): (&[f32], f32),
) -> Gradients {
    let n = stats.n.max(1) as f32;
    let [to_beta, centered_sum] = cpu::grad_sums(grad, rows, &stats.mean);
    let inverse = |c: usize| 1.0 / (stats.variance[c] + eps).sqrt();
    let channels = || 0..gamma.len();
    let a: Vec<f32> = channels().map(|c| gamma[c] * inverse(c)).collect();
    let slope = |c: usize| -a[c] * inverse(c).powi(2) * centered_sum[c] / n;
    let b: Vec<f32> = channels().map(slope).collect();
    let c: Vec<f32> = channels().map(|c| -a[c] * to_beta[c] / n - b[c] * stats.mean[c]).collect();
    let to_gamma = channels().map(|c| centered_sum[c] * inverse(c)).collect();
    Gradients { slope: Slope { a, b, c }, to_gamma, to_beta }
}

#[cfg(test)]
mod tests;
