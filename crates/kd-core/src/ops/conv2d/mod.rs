//! Two-dimensional convolution: `y = conv(x, w) + b`.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod geometry;
mod pack;
mod scatter;
mod tile;
pub(crate) mod weights;
mod winograd;

use candle_core::{CpuStorage, CustomOp3, Layout, Result as CandleResult, Shape, Tensor};
use geometry::Geometry;
use serde::{Deserialize, Serialize};

use super::source::Source::Plain;
use super::{channels, slices};
use crate::{Error, Result};

/// How the windows of a convolution lie on the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    let geometry = Geometry::new(x.dims(), weight.dims(), conv)?;
    let n_out = geometry.out_channels;
    if let Some(bias) = bias
        && bias.dims() != [n_out]
    {
        return Err(Error::shape("bias", format!("({n_out},)"), bias.dims()));
    }
    let none = Tensor::zeros(0, x.dtype(), x.device())?;
    let bias = bias.unwrap_or(&none).contiguous()?;
    Ok(x.contiguous()?.apply_op3(&weight.contiguous()?, &bias, Conv2d(geometry))?)
}

struct Conv2d(Geometry);

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
        let y = cpu::forward(&Plain(x), weight, &self.0, |_, rows| {
            channels::finish(rows, bias, None, false);
        });
        Ok((CpuStorage::F32(y.into_vec()), Shape::from_dims(&self.0.out_dims())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let to_bias = bias.track_op() && bias.elem_count() > 0;
        Ok((
            x.track_op().then(|| grad_input(x, &grad, weight, &self.0)).transpose()?,
            weight.track_op().then(|| grad_weight(x, &grad, weight, &self.0)).transpose()?,
            to_bias.then(|| bias_gradient(&grad, bias)).transpose()?,
        ))
    }
}

/// Gradient of the bias from that of the convolution's output.
fn bias_gradient(grad: &Tensor, bias: &Tensor) -> CandleResult<Tensor> {
    let values = slices::with(grad, |grad| Ok(channels::sums(grad, bias.elem_count())))?;
    Tensor::from_vec(values, bias.shape(), bias.device())
}

/// Gradient of the weight from that of the convolution's output.
fn grad_weight(
    x: &Tensor,
    grad: &Tensor,
    weight: &Tensor,
    geometry: &Geometry,
) -> CandleResult<Tensor> {
    let values = slices::with(x, |x| {
        slices::with(grad, |g| Ok(weights::grad_weight(&Plain(x), &Plain(g), geometry)))
    })?;
    Tensor::from_vec(values, weight.shape(), x.device())
}

/// Gradient of the input from that of the convolution's output.
fn grad_input(
    x: &Tensor,
    grad: &Tensor,
    weight: &Tensor,
    geometry: &Geometry,
) -> CandleResult<Tensor> {
    let values = slices::with(weight, |weight| {
        slices::with(grad, |g| Ok(cpu::grad_input(&Plain(g), weight, geometry, |_, _| {})))
    })?;
    Tensor::from_vec(values.into_vec(), x.shape(), x.device())
}

#[cfg(test)]
mod tests;
