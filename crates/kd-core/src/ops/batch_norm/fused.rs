//! `relu?(batch_norm(conv?(x)) + residual?)` as one operation.

use std::sync::Arc;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result as CandleResult, Shape, Tensor,
};

use super::cpu::{Affine, Incoming, Moments, join_all, moments};
use super::{BatchStats, State, gradients};
use crate::ops::conv2d::cpu as conv;
use crate::ops::conv2d::geometry::Geometry;
use crate::ops::{channels, deposit, slices};
use crate::{Error, Grad, Result};

/// What is summed to the normalized values.
pub(crate) type Residual<'a> = Option<&'a Tensor>;

/// The parameters of the operation, and where their gradients go.
#[derive(Clone)]
pub(crate) struct Fused {
    /// The convolution before, with its weight; without one, `x` itself is normalized.
    pub(crate) conv: Option<(Geometry, Tensor, Arc<Grad>)>,
    /// An argument of the operation: candle records it in the graph where this is tracked, also
    /// when `x` is not, as in a network's first layer.
    pub(crate) gamma: Tensor,
    pub(crate) beta: Vec<f32>,
    pub(crate) sinks: [Arc<Grad>; 2],
    pub(crate) eps: f32,
    pub(crate) relu: bool,
}

impl Fused {
    fn out_dims(&self, x: &[usize]) -> Vec<usize> {
        out_dims(self.conv.as_ref().map(|(geometry, ..)| geometry), x)
    }

    fn check(&self, x: &Tensor, residual: Residual<'_>) -> Result<()> {
        let dims = self.out_dims(x.dims());
        if dims.last() != Some(&self.beta.len()) {
            return Err(Error::shape("x", format!("(.., {})", self.beta.len()), x.dims()));
        }
        match residual {
            Some(residual) if residual.dims() != dims => {
                Err(Error::shape("residual", format!("{dims:?}"), residual.dims()))
            }
            _ => Ok(()),
        }
    }
}

/// Shape of the output: the convolution's, or that of `x` without one.
fn out_dims(conv: Option<&Geometry>, x: &[usize]) -> Vec<usize> {
    conv.map_or(x.to_vec(), |geometry| geometry.out_dims().to_vec())
}

/// In training, with the batch's own statistics, which are returned. The gradients of the
/// constants go to their buffers.
pub(crate) fn train(
    fused: Fused,
    x: &Tensor,
    residual: Residual<'_>,
) -> Result<(Tensor, BatchStats)> {
    fused.check(x, residual)?;
    let state = State::default();
    let gamma = fused.gamma.clone();
    let op = Train { fused, state: state.clone() };
    let x = x.contiguous()?;
    let y = match residual {
        None => x.apply_op2(&gamma, op)?,
        Some(residual) => x.apply_op3(&gamma, &residual.contiguous()?, op)?,
    };
    Ok((y, state.stats()))
}

struct Train {
    fused: Fused,
    state: State,
}

impl Train {
    fn forward(
        &self,
        x: &[f32],
        gamma: &[f32],
        residual: Option<&[f32]>,
    ) -> CandleResult<Vec<f32>> {
        let n_channels = gamma.len();
        let (values, moments) = match &self.fused.conv {
            None => (Vec::new(), moments(x, n_channels)),
            Some((geometry, weight, _)) => {
                slices::with(weight, |weight| Ok(convolve(x, weight, geometry)))?
            }
        };
        let normalized = if self.fused.conv.is_some() { &values } else { x };
        let (mean, variance, n) = moments.finish();
        let affine = Affine::new((gamma, &self.fused.beta), (&mean, &variance), self.fused.eps);
        let y = affine.apply(normalized, residual, self.fused.relu);
        self.state.keep(BatchStats { mean, variance, n }, values);
        Ok(y)
    }

    fn backward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let Fused { conv, gamma, sinks, eps, relu, .. } = &self.fused;
        let gamma = gamma.to_vec1::<f32>()?;
        let grad = grad.contiguous()?;
        let stats = self.state.stats();
        let with_residual = residual.is_some_and(Tensor::track_op);
        let values = self.state.take_values();
        let gradients = slices::with(&grad, |grad| {
            slices::with(y, |y| {
                slices::with(x, |x| {
                    let values = if conv.is_some() { &values } else { x };
                    let incoming = Incoming { grad, relu: relu.then_some(y) };
                    Ok(gradients(incoming, values, &stats, (&gamma, *eps), with_residual))
                })
            })
        })?;
        drop((values, grad));
        let device = x.device();
        for (sink, values) in sinks.iter().zip([gradients.gamma, gradients.beta]) {
            deposit::deposit(sink, Tensor::from_vec(values, gamma.len(), device)?)?;
        }
        let to_residual =
            gradients.residual.map(|values| Tensor::from_vec(values, y.shape(), device));
        let to_x = match conv {
            None => Some(gradients.values),
            Some((geometry, weight, sink)) => {
                let g = &gradients.values;
                let to_weight = slices::with(x, |x| Ok(conv::grad_weight(x, g, geometry)))?;
                deposit::deposit(sink, Tensor::from_vec(to_weight, weight.shape(), device)?)?;
                let to_x = || slices::with(weight, |w| Ok(conv::grad_input(g, w, geometry)));
                x.track_op().then(to_x).transpose()?
            }
        };
        let to_x = to_x.filter(|_| x.track_op());
        let to_x = to_x.map(|values| Tensor::from_vec(values, x.shape(), device));
        Ok((to_x.transpose()?, to_residual.transpose()?))
    }
}

/// The convolution's output, and its moments, taken while each block is in the cache.
fn convolve(x: &[f32], weight: &[f32], geometry: &Geometry) -> (Vec<f32>, Moments) {
    let n_channels = geometry.out_channels;
    let parts = std::sync::Mutex::new(Vec::new());
    let y = conv::forward(x, weight, geometry, |first, rows| {
        let moments = Moments::of(rows, n_channels);
        parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((first, moments));
    });
    let mut parts = parts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    parts.sort_by_key(|(first, _)| *first);
    let parts: Vec<_> = parts.into_iter().map(|(_, moments)| moments).collect();
    (y, join_all(&parts, n_channels))
}

impl CustomOp2 for Train {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let gamma = slices::of(gamma, gamma_layout)?;
        let y = self.forward(slices::of(x, x_layout)?, gamma, None)?;
        Ok((CpuStorage::F32(y), self.fused.out_dims(x_layout.dims()).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _gamma: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.backward(x, None, y, grad)?.0, None))
    }
}

impl CustomOp3 for Train {
    fn name(&self) -> &'static str {
        "norm-residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let gamma = slices::of(gamma, gamma_layout)?;
        let residual = slices::of(residual, residual_layout)?;
        let y = self.forward(slices::of(x, x_layout)?, gamma, Some(residual))?;
        Ok((CpuStorage::F32(y), self.fused.out_dims(x_layout.dims()).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _gamma: &Tensor,
        residual: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (to_x, to_residual) = self.backward(x, Some(residual), y, grad)?;
        Ok((to_x, None, to_residual))
    }
}

/// In evaluation: an affine map of each channel with the given mean and variance, which folds into
/// the convolution's weights. The gradient flows to `x` and `residual` only.
pub(crate) fn eval(
    fused: &Fused,
    (mean, variance): (&[f32], &[f32]),
    x: &Tensor,
    residual: Residual<'_>,
) -> Result<Tensor> {
    fused.check(x, residual)?;
    let gamma = fused.gamma.to_vec1::<f32>()?;
    let affine = Affine::new((&gamma, &fused.beta), (mean, variance), fused.eps);
    let conv = match &fused.conv {
        None => None,
        Some((geometry, weight, _)) => {
            Some((*geometry, slices::with(weight, |weight| Ok(folded(weight, &affine.scale)))?))
        }
    };
    let op = Eval { conv, affine, relu: fused.relu };
    let x = x.contiguous()?;
    Ok(match residual {
        None => x.apply_op1(op)?,
        Some(residual) => x.apply_op2(&residual.contiguous()?, op)?,
    })
}

/// Weights whose output channels are multiplied by `scale`.
fn folded(weight: &[f32], scale: &[f32]) -> Vec<f32> {
    let n = weight.len() / scale.len().max(1);
    let channels = weight.chunks_exact(n.max(1)).zip(scale);
    channels.flat_map(|(weight, scale)| weight.iter().map(move |w| w * scale)).collect()
}

struct Eval {
    /// The convolution before, with folded weights.
    conv: Option<(Geometry, Vec<f32>)>,
    affine: Affine,
    relu: bool,
}

impl Eval {
    fn forward(&self, x: &[f32], residual: Option<&[f32]>) -> Vec<f32> {
        let Some((geometry, weight)) = &self.conv else {
            return self.affine.apply(x, residual, self.relu);
        };
        let image_len: usize = geometry.out_dims()[1..].iter().product();
        conv::forward(x, weight, geometry, |first, rows| {
            let residual = residual.map(|r| &r[first * image_len..][..rows.len()]);
            let shift = Some(&self.affine.shift[..]);
            channels::finish(rows, geometry.out_channels, shift, residual, self.relu);
        })
    }

    fn out_dims(&self, x: &[usize]) -> Vec<usize> {
        out_dims(self.conv.as_ref().map(|(geometry, _)| geometry), x)
    }

    fn backward(
        &self,
        x: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Tensor)> {
        let grad = grad.contiguous()?;
        let g = if self.relu { channels::through_relu(&grad, y)? } else { grad };
        let to_x = || {
            let values = slices::with(&g, |g| {
                Ok(match &self.conv {
                    Some((geometry, weight)) => conv::grad_input(g, weight, geometry),
                    None => {
                        let none = vec![0.0; self.affine.shift.len()];
                        let scale = self.affine.scale.clone();
                        Affine { scale, shift: none }.apply(g, None, false)
                    }
                })
            })?;
            Tensor::from_vec(values, x.shape(), x.device())
        };
        Ok((x.track_op().then(to_x).transpose()?, g))
    }
}

impl CustomOp1 for Eval {
    fn name(&self) -> &'static str {
        "norm-eval"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let y = self.forward(slices::of(x, layout)?, None);
        Ok((CpuStorage::F32(y), self.out_dims(layout.dims()).into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        Ok(self.backward(x, y, grad)?.0)
    }
}

impl CustomOp2 for Eval {
    fn name(&self) -> &'static str {
        "norm-eval-residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let residual = slices::of(residual, residual_layout)?;
        let y = self.forward(slices::of(x, x_layout)?, Some(residual));
        Ok((CpuStorage::F32(y), self.out_dims(x_layout.dims()).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let (to_x, g) = self.backward(x, y, grad)?;
        Ok((to_x, residual.track_op().then_some(g)))
    }
}
