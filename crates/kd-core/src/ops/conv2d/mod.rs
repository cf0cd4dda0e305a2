//! Two-dimensional convolution: `y = relu(conv(x, w) + b)`.

pub(crate) mod cpu;
pub(crate) mod geometry;
mod pack;
mod tile;
mod winograd;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, Layout, Result as CandleResult, Shape, Tensor};
use geometry::Geometry;
use serde::{Deserialize, Serialize};

use super::{channels, deposit, slices};
use crate::{Error, Grad, Result};

/// How the windows of a convolution lie on the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv {
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Zeros around the image, on each side.
    pub padding: usize,
    /// Input and output channels fall into so many groups that do not meet.
    pub groups: usize,
}

impl Default for Conv {
    fn default() -> Self {
        Self { stride: 1, padding: 0, groups: 1 }
    }
}

/// Cross-correlation, as in PyTorch's `conv2d`, with activations in NHWC order:
/// `y[n,i,j,o] = b[o] + sum over ky, kx, c of x[n, i s + ky - p, j s + kx - p, c] w[o,c,ky,kx]`.
///
/// # Shapes
/// `x`: `(N, H, W, C)`; `weight`: `(O, C/groups, kh, kw)`, as PyTorch stores it; `bias`: `(O,)`;
/// returns `(N, OH, OW, O)` with `OH = (H + 2p - kh) / s + 1`; all f32.
///
/// # Gradient
/// Flows to each argument that is tracked.
///
/// # Errors
/// [`Error::Shape`] when the shapes do not fit, [`Error::Config`] for a stride or groups of 0.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: Conv) -> Result<Tensor> {
    apply(x, weight, bias, conv, (false, None))
}

/// The gradient buffers of weight and bias.
type Sinks = (Arc<Grad>, Option<Arc<Grad>>);

/// The same, then ReLU where asked for; the backward adds the gradients of weight and bias to the
/// given buffers.
pub(crate) fn conv2d_into(
    x: &Tensor,
    weight: (&Tensor, &Arc<Grad>),
    bias: Option<(&Tensor, &Arc<Grad>)>,
    conv: Conv,
    relu: bool,
) -> Result<Tensor> {
    let sinks = (weight.1.clone(), bias.map(|(_, sink)| sink.clone()));
    apply(x, weight.0, bias.map(|(bias, _)| bias), conv, (relu, Some(sinks)))
}

/// [`conv2d`], then ReLU where asked for.
pub(crate) fn conv2d_relu(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    conv: Conv,
    relu: bool,
) -> Result<Tensor> {
    apply(x, weight, bias, conv, (relu, None))
}

fn apply(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    conv: Conv,
    (relu, sinks): (bool, Option<Sinks>),
) -> Result<Tensor> {
    let geometry = Geometry::new(x.dims(), weight.dims(), conv)?;
    let n_out = geometry.out_channels;
    if let Some(bias) = bias
        && bias.dims() != [n_out]
    {
        return Err(Error::shape("bias", format!("({n_out},)"), bias.dims()));
    }
    let none = Tensor::zeros(0, x.dtype(), x.device())?;
    let bias = bias.unwrap_or(&none).contiguous()?;
    let op = Conv2d { geometry, relu, sinks };
    Ok(x.contiguous()?.apply_op3(&weight.contiguous()?, &bias, op)?)
}

struct Conv2d {
    geometry: Geometry,
    relu: bool,
    sinks: Option<Sinks>,
}

impl CustomOp3 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    /// An empty bias stands for none.
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let bias = slices::of(bias, bias_layout)?;
        let bias = (!bias.is_empty()).then_some(bias);
        let (x, weight) = (slices::of(x, x_layout)?, slices::of(weight, weight_layout)?);
        let n_channels = self.geometry.out_channels;
        let y = cpu::forward(x, weight, &self.geometry, |_, rows| {
            channels::finish(rows, n_channels, bias, None, self.relu);
        });
        Ok((CpuStorage::F32(y), Shape::from_dims(&self.geometry.out_dims())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut grad = grad.contiguous()?;
        if self.relu {
            grad = channels::through_relu(&grad, y)?;
        }
        let geometry = &self.geometry;
        let has_bias = bias.elem_count() > 0;
        let (to_weight, to_bias) = match &self.sinks {
            Some((weight_sink, bias_sink)) => {
                deposit::deposit(weight_sink, grad_weight(x, &grad, weight, geometry)?)?;
                if let Some(sink) = bias_sink {
                    deposit::deposit(sink, channels::sums(&grad)?)?;
                }
                (false, false)
            }
            None => (weight.track_op(), bias.track_op() && has_bias),
        };
        Ok((
            x.track_op().then(|| grad_input(x, &grad, weight, geometry)).transpose()?,
            to_weight.then(|| grad_weight(x, &grad, weight, geometry)).transpose()?,
            to_bias.then(|| channels::sums(&grad)).transpose()?,
        ))
    }
}

/// Gradient of the weight from that of the convolution's output.
fn grad_weight(
    x: &Tensor,
    grad: &Tensor,
    weight: &Tensor,
    geometry: &Geometry,
) -> CandleResult<Tensor> {
    let values = slices::with(x, |x| slices::with(grad, |g| Ok(cpu::grad_weight(x, g, geometry))))?;
    Tensor::from_vec(values, weight.shape(), x.device())
}

/// Gradient of the input from that of the convolution's output.
fn grad_input(
    x: &Tensor,
    grad: &Tensor,
    weight: &Tensor,
    geometry: &Geometry,
) -> CandleResult<Tensor> {
    let values =
        slices::with(weight, |w| slices::with(grad, |g| Ok(cpu::grad_input(g, w, geometry))))?;
    Tensor::from_vec(values, x.shape(), x.device())
}

#[cfg(test)]
mod tests;
