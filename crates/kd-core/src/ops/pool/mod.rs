//! Pooling over windows of pixels, channel by channel.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod taped;

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor};
use cpu::Windows;
use serde::{Deserialize, Serialize};

use super::slices;
use crate::{Error, Result};

/// How the windows lie on the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Height and width of a window.
    pub kernel: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Pixels around the image, on each side; at most half the kernel. They count as zeros in an
    /// average and never as a maximum.
    pub padding: usize,
}

/// The largest value of each window. Among equals the first one in row order takes the whole
/// gradient, as in PyTorch (candle's own backward divides it wrongly).
///
/// # Shapes
/// `x`: `(N, H, W, C)` f32; returns `(N, OH, OW, C)`, `OH = (H + 2 padding - kernel) / stride + 1`.
///
/// # Errors
/// [`Error::Shape`] for an image smaller than the window, [`Error::Config`] for a stride or kernel
/// of 0, a kernel above 16 or a padding above half of it.
pub fn max_pool2d(x: &Tensor, pool: Pool) -> Result<Tensor> {
    let windows = Windows::new(x.dims(), pool)?;
    Ok(x.contiguous()?.apply_op1(MaxPool { windows, winners: Arc::default() })?)
}

/// The mean of each window, zeros of the padding included, as PyTorch's `avg_pool2d`.
///
/// # Shapes
/// As [`max_pool2d`].
///
/// # Errors
/// As [`max_pool2d`].
pub fn avg_pool2d(x: &Tensor, pool: Pool) -> Result<Tensor> {
    let windows = Windows::new(x.dims(), pool)?;
    Ok(x.contiguous()?.apply_op1(AvgPool(windows))?)
}

/// The mean over all pixels: `(N, H, W, C)` -> `(N, C)`.
///
/// # Errors
/// [`Error::Shape`] for another number of dimensions or images without pixels.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let &[n, h, w, c] = x.dims() else {
        return Err(Error::shape("x", "(N, H, W, C)", x.dims()));
    };
    // One column of h w pixels under one window is the same mean whatever the image's sides.
    let column = x.contiguous()?.reshape((n, h * w, 1, c))?;
    let windows = Windows::whole(column.dims())?;
    Ok(column.apply_op1(AvgPool(windows))?.reshape((n, c))?)
}

struct MaxPool {
    windows: Windows,
    /// For each output value, which pixel of its window it came from.
    winners: Arc<OnceLock<Vec<u8>>>,
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let (y, winners) = self.windows.max(slices::of(x, layout)?);
        self.winners.get_or_init(|| winners);
        Ok((CpuStorage::F32(y.into_vec()), Shape::from_dims(&self.windows.out_dims())))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let winners = self.winners.get().map_or(&[][..], Vec::as_slice);
        let values =
            slices::with(&grad.contiguous()?, |g| Ok(self.windows.max_backward(g, winners)))?;
        Ok(Some(Tensor::from_vec(values.into_vec(), x.shape(), x.device())?))
    }
}

struct AvgPool(Windows);

impl CustomOp1 for AvgPool {
    fn name(&self) -> &'static str {
        "avg-pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let y = self.0.mean(slices::of(x, layout)?).into_vec();
        Ok((CpuStorage::F32(y), Shape::from_dims(&self.0.out_dims())))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let values = slices::with(&grad.contiguous()?, |g| Ok(self.0.mean_backward(g)))?;
        Ok(Some(Tensor::from_vec(values.into_vec(), x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests;
