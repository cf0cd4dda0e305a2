//! The same on a GPU, by cuDNN.
//!
//! Weights lie as PyTorch's, `(O, C/groups, kh, kw)`; cuDNN wants the channels last beside such
//! activations. A copy in its order is made for each step, which is short against the products.

use candle_core::Tensor;

use super::geometry::Geometry;
use crate::act::{Act, Grads};
use crate::cuda::{Direction, Gpu, Trio, convolution, empty_like};
use crate::gemm::Write;
use crate::ops::layout::cuda::transpose;
use crate::{Grad, Result};

/// Weights in cuDNN's order.
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
    convolution(Direction::Forward, Trio { x, weight: &weight.0, y: &y }, geometry, Write::Set)?;
    Ok(y)
}

/// Adds the gradient of the input `x`, `(N, H, W, C)`, from that of the output, if it is needed. Where
/// another path has left one already, cuDNN adds to it.
pub(crate) fn add_grad_input(
    grads: &mut Grads,
    x: &Act,
    (grad, weight): (&Tensor, &Weight),
    geometry: &Geometry,
) -> Result<()> {
    if !x.needs_grad() {
        return Ok(());
    }
    let (to, write) = match grads.take(x) {
        Some(sum) => (sum.values.on_gpu()?, Write::Add),
        None => (Gpu::of(grad)?.empty(x.dims())?, Write::Set),
    };
    let trio = Trio { x: &to, weight: &weight.0, y: grad };
    convolution(Direction::ToInput, trio, geometry, write)?;
    grads.add(x, to)
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
    let trio = Trio { x, weight: &weight, y: grad };
    convolution(Direction::ToWeight, trio, geometry, Write::Set)?;
    transpose(&weight, to, [height * width, n_in], write)
}
