//! Batch norm (Ioffe, Szegedy 2015).
//!
//! Key decision: as a layer it is joined with the convolution before it, the residual sum and the
//! ReLU after it (`layer/norm.rs`): statistics are taken while the convolution's output is in the
//! cache, and the backward turns that output into its own gradient, in place.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Layout, Result as CandleResult, Shape, Tensor};
use cpu::{Affine, Slope};

use super::slices;
use crate::{Error, Result};

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

/// `y = gamma (x - mean) / sqrt(variance + eps) + beta`, with the batch's own mean and (biased)
/// variance of each channel; also returns these. As PyTorch's `batch_norm` in training.
///
/// # Shapes
/// `x`: `(.., C)`; `gamma`, `beta`: `(C,)`; returns `(.., C)`; all f32.
///
/// # Gradient
/// Flows to each argument that is tracked, through mean and variance too.
///
/// # Errors
/// [`Error::Shape`] when the shapes do not fit.
pub fn batch_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f32,
) -> Result<(Tensor, BatchStats)> {
    let n_channels = x.dims().last().copied().unwrap_or(0);
    check_channels("gamma", gamma, n_channels)?;
    check_channels("beta", beta, n_channels)?;
    let stats = Arc::new(OnceLock::new());
    let op = BatchNorm { eps, stats: stats.clone() };
    let y = x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)?;
    Ok((y, stats.get().expect("the forward has run").clone()))
}

fn check_channels(name: &str, tensor: &Tensor, n_channels: usize) -> Result<()> {
    if tensor.dims() == [n_channels] {
        return Ok(());
    }
    Err(Error::shape(name, format!("({n_channels},)"), tensor.dims()))
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

struct BatchNorm {
    eps: f32,
    stats: Arc<OnceLock<BatchStats>>,
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let (x, gamma) = (slices::of(x, x_layout)?, slices::of(gamma, gamma_layout)?);
        let beta = slices::of(beta, beta_layout)?;
        let stats = self.stats.get_or_init(|| cpu::moments(x, gamma.len()).finish());
        let affine = Affine::new((gamma, beta), (&stats.mean, &stats.variance), self.eps);
        let y = affine.apply(x, false).into_vec();
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let stats = self.stats.get().expect("the forward has run");
        let rows: Vec<f32> = x.flatten_all()?.to_vec1()?;
        let grad: Vec<f32> = grad.flatten_all()?.to_vec1()?;
        let with_gamma = (&gamma.to_vec1::<f32>()?[..], self.eps);
        let Gradients { slope, to_gamma, to_beta } = gradients(&grad, &rows, stats, with_gamma);
        let tensor = |values: Vec<f32>, like: &Tensor| {
            like.track_op()
                .then(|| Tensor::from_vec(values, like.shape(), like.device()))
                .transpose()
        };
        let to_x = slope.apply(&grad, &rows).into_vec();
        Ok((tensor(to_x, x)?, tensor(to_gamma, gamma)?, tensor(to_beta, beta)?))
    }
}

#[cfg(test)]
mod tests;
