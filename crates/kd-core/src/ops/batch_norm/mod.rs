//! Batch norm (Ioffe, Szegedy 2015), alone or fused with the convolution before it, the residual
//! sum and the ReLU after it.
//!
//! Key decision: the fused form is one node of candle's graph. It keeps the convolution's output
//! and nothing else, takes the statistics while that output is in the cache, and frees it as soon
//! as the backward has used it; candle's graph would keep it until the loss is dropped.

pub(crate) mod cpu;
mod fused;

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, Layout, Result as CandleResult, Shape, Tensor};
use cpu::{Affine, Incoming};

pub(crate) use fused::{Fused, Residual, eval, train};

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
    let state = State::default();
    let op = BatchNorm { eps, state: state.clone() };
    let y = x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)?;
    Ok((y, state.stats()))
}

fn check_channels(name: &str, tensor: &Tensor, n_channels: usize) -> Result<()> {
    if tensor.dims() == [n_channels] {
        return Ok(());
    }
    Err(Error::shape(name, format!("({n_channels},)"), tensor.dims()))
}

/// What the forward leaves for the backward.
#[derive(Debug, Clone, Default)]
struct State(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    stats: Option<BatchStats>,
    /// The values that were normalized, where they are no argument of the operation.
    values: Vec<f32>,
}

impl State {
    fn keep(&self, stats: BatchStats, values: Vec<f32>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Kept { stats: Some(stats), values };
    }

    fn stats(&self) -> BatchStats {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.stats.clone().expect("the forward has run")
    }

    /// Takes the values out, so that they are freed with the backward's use of them.
    fn take_values(&self) -> Vec<f32> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).values)
    }
}

/// The gradients of what was normalized, of the residual where asked for, of gamma and of beta.
struct Gradients {
    values: Vec<f32>,
    residual: Option<Vec<f32>>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

/// With `x^ = (x - mean) r`, `r = 1 / sqrt(variance + eps)`:
/// `dx = gamma r (g - mean(g) - x^ mean(g x^))`, `dgamma = sum g x^`, `dbeta = sum g`.
fn gradients(
    incoming: Incoming<'_>,
    values: &[f32],
    stats: &BatchStats,
    (gamma, eps): (&[f32], f32),
    with_residual: bool,
) -> Gradients {
    let n = stats.n.max(1) as f32;
    let [beta_sum, centered_sum] = cpu::grad_sums(incoming, values, &stats.mean);
    let inverse = |c: usize| 1.0 / (stats.variance[c] + eps).sqrt();
    let channels = || 0..gamma.len();
    let a: Vec<f32> = channels().map(|c| gamma[c] * inverse(c)).collect();
    let slope = |c: usize| -a[c] * inverse(c).powi(2) * centered_sum[c] / n;
    let b: Vec<f32> = channels().map(slope).collect();
    let c: Vec<f32> = channels().map(|c| -a[c] * beta_sum[c] / n - b[c] * stats.mean[c]).collect();
    let mut residual = with_residual.then(|| vec![0.0; values.len()]);
    let grad = cpu::grad_rows(incoming, values, [&a, &b, &c], residual.as_deref_mut());
    let gamma = channels().map(|c| centered_sum[c] * inverse(c)).collect();
    Gradients { values: grad, residual, gamma, beta: beta_sum }
}

struct BatchNorm {
    eps: f32,
    state: State,
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
        let (mean, variance, n) = cpu::moments(x, gamma.len()).finish();
        let affine = Affine::new((gamma, beta), (&mean, &variance), self.eps);
        let y = affine.apply(x, None, false);
        self.state.keep(BatchStats { mean, variance, n }, Vec::new());
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
        let grad = grad.contiguous()?;
        let stats = self.state.stats();
        let gradients = slices::with(&grad, |grad| {
            slices::with(x, |x| {
                slices::with(gamma, |gamma| {
                    let incoming = Incoming { grad, relu: None };
                    Ok(gradients(incoming, x, &stats, (gamma, self.eps), false))
                })
            })
        })?;
        let tensor = |values: Vec<f32>, like: &Tensor| {
            like.track_op()
                .then(|| Tensor::from_vec(values, like.shape(), like.device()))
                .transpose()
        };
        Ok((
            tensor(gradients.values, x)?,
            tensor(gradients.gamma, gamma)?,
            tensor(gradients.beta, beta)?,
        ))
    }
}

#[cfg(test)]
mod tests;
