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
use cpu::Affine;

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

/// Turns `rows`, the values that were normalized, into their gradient; returns those of gamma and
/// beta. `grad` is masked first where the output of a ReLU that followed is given: it is then the
/// gradient of a residual, too.
///
/// With `x^ = (x - mean) r`, `r = 1 / sqrt(variance + eps)`:
/// `dx = gamma r (g - mean(g) - x^ mean(g x^))`, `dgamma = sum g x^`, `dbeta = sum g`.
pub(crate) fn gradients(
    grad: &mut [f32],
    relu: Option<&[f32]>,
    rows: &mut [f32],
    stats: &BatchStats,
    (gamma, eps): (&[f32], f32),
) -> [Vec<f32>; 2] {
    let n = stats.n.max(1) as f32;
    let [to_beta, centered_sum] = cpu::grad_sums(grad, relu, rows, &stats.mean);
    let inverse = |c: usize| 1.0 / (stats.variance[c] + eps).sqrt();
    let channels = || 0..gamma.len();
    let a: Vec<f32> = channels().map(|c| gamma[c] * inverse(c)).collect();
    let slope = |c: usize| -a[c] * inverse(c).powi(2) * centered_sum[c] / n;
    let b: Vec<f32> = channels().map(slope).collect();
    let c: Vec<f32> = channels().map(|c| -a[c] * to_beta[c] / n - b[c] * stats.mean[c]).collect();
    cpu::grad_rows(grad, rows, [&a, &b, &c]);
    [channels().map(|c| centered_sum[c] * inverse(c)).collect(), to_beta]
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
        let y = affine.apply(x, None, false).into_vec();
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
        let mut rows: Vec<f32> = x.flatten_all()?.to_vec1()?;
        let mut grad: Vec<f32> = grad.flatten_all()?.to_vec1()?;
        let with_gamma = (&gamma.to_vec1::<f32>()?[..], self.eps);
        let [to_gamma, to_beta] = gradients(&mut grad, None, &mut rows, stats, with_gamma);
        let tensor = |values: Vec<f32>, like: &Tensor| {
            like.track_op()
                .then(|| Tensor::from_vec(values, like.shape(), like.device()))
                .transpose()
        };
        Ok((tensor(rows, x)?, tensor(to_gamma, gamma)?, tensor(to_beta, beta)?))
    }
}

#[cfg(test)]
mod tests;
