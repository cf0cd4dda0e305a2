//! The same on a GPU, by cuDNN.
//!
//! Weights lie as PyTorch's, `(O, C/groups, kh, kw)`; cuDNN wants the channels last beside such
//! activations. A copy in its order is made for each step, which is short against the products.

use candle_core::Tensor;

use super::geometry::Geometry;
use crate::cuda::{Direction, Gpu, Trio, convolution, empty_like};
use crate::gemm::Write;
use crate::ops::layout::cuda::transpose;
use crate::{Grad, Result};

/// Weights in cuDNN's order.
#[derive(Clone)]
pub(crate) struct Weight(Tensor);

impl Weight {
    /// From PyTorch's order.
    pub(crate) fn new(weight: &Tensor) -> Result<Self> {
        let &[_, n_in, height, width] = weight.dims() else { return Ok(Self(weight.clone())) };
        if n_in == 1 || height * width == 1 {
            return Ok(Self(weight.clone()));
        }
        let ours = empty_like(weight)?;
        transpose(weight, &ours, [n_in, height * width], Write::Set)?;
        Ok(Self(ours))
    }
}

/// `(N, H, W, C)` -> `(N, OH, OW, O)`.
pub(crate) fn forward(x: &Tensor, weight: &Weight, geometry: &Geometry) -> Result<Tensor> {
    let y = Gpu::of(x)?.empty(&geometry.out_dims())?;
    convolution(Direction::Forward, Trio { x, weight: &weight.0, y: &y }, geometry)?;
    Ok(y)
}

/// Gradient of the input, `(N, H, W, C)`, from that of the output.
pub(crate) fn grad_input(grad: &Tensor, weight: &Weight, geometry: &Geometry) -> Result<Tensor> {
    let Geometry { n, size: [height, width], channels, .. } = *geometry;
    let x = Gpu::of(grad)?.empty(&[n, height, width, channels])?;
    convolution(Direction::ToInput, Trio { x: &x, weight: &weight.0, y: grad }, geometry)?;
    Ok(x)
}

/// Adds the gradient of the weight to what `sink` holds.
pub(crate) fn deposit_weight(
    (x, grad): (&Tensor, &Tensor),
    geometry: &Geometry,
    sink: &Grad,
) -> Result<()> {
    let (to, write) = sink.write();
    let &[_, n_in, height, width] = to.dims() else { return Ok(()) };
    let weight = empty_like(to)?;
    convolution(Direction::ToWeight, Trio { x, weight: &weight, y: grad }, geometry)?;
    transpose(&weight, to, [height * width, n_in], write)
}
