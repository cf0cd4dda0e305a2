//! A convolution of tensors, and its gradients.

use candle_core::Tensor;
use candle_core::cuda::WrapErr;

use super::Gpu;
use super::algorithm::Direction;
use super::launch::address;
use crate::gemm::Write;
use crate::ops::conv2d::geometry::Geometry;
use crate::{Error, Result};

/// The tensors of a convolution: input `(N, H, W, C)`, weights `(O, kh, kw, C/groups)` and output
/// `(N, OH, OW, O)`, or their gradients.
#[derive(Clone, Copy)]
pub(crate) struct Trio<'t> {
    /// Input.
    pub(crate) x: &'t Tensor,
    /// Weights.
    pub(crate) weight: &'t Tensor,
    /// Output.
    pub(crate) y: &'t Tensor,
}

/// Writes the member of `trio` that `direction` computes from the two others, or adds to it.
pub(crate) fn convolution(
    direction: Direction,
    trio: Trio<'_>,
    geometry: &Geometry,
    write: Write,
) -> Result<()> {
    if geometry.n == 0 {
        return Ok(());
    }
    check_padding(geometry)?;
    let gpu = Gpu::of(trio.x)?;
    gpu.stream.context().bind_to_thread().w()?;
    let at = [address(trio.x)?, address(trio.weight)?, address(trio.y)?];
    gpu.convolutions().run((direction, geometry, gpu.precision), at, &gpu.device, write)
}

/// cuDNN knows one number of zeros for both sides.
fn check_padding(geometry: &Geometry) -> Result<()> {
    let [top, left, bottom, right] = geometry.conv.padding;
    if (top, left) == (bottom, right) {
        return Ok(());
    }
    let reason = format!(
        "cuDNN pads both sides alike, not {top} above and {bottom} below, {left} to the left and \
         {right} to the right; run this network on the CPU"
    );
    Err(Error::config("padding", reason))
}
