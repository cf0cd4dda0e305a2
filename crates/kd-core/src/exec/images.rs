//! From pixels, as loaders deliver them, to a network's first activation, and the gradient's way back.
//!
//! Key decision: the order of the axes and the normalization change together, image by image, so that
//! no copy of the images stays in memory between them.

use candle_core::Tensor;

use crate::act::{Buffer, Values};
use crate::ops::layout::{to_nchw, to_nhwc, transpose};
use crate::ops::{Normalize, slices};
use crate::tasks::each;
use crate::{Error, Result};

/// `(N, C, H, W)` -> `(N, H, W, C)`, normalized.
pub(super) fn values(pixels: &Tensor, normalize: Option<&Normalize>) -> Result<Values> {
    let &[_, channels, height, width] = pixels.dims() else {
        return Err(Error::shape("images", "(N, C, H, W)", pixels.dims()));
    };
    let pixels = pixels.detach().contiguous()?;
    if pixels.device().is_cuda() {
        return values_on_gpu(&to_nhwc(&pixels)?, normalize);
    }
    let mut values = Buffer::take(pixels.elem_count());
    let len = (channels * height * width).max(1);
    slices::with(&pixels, |pixels| {
        each(values.chunks_mut(len).zip(pixels.chunks(len)), |(values, pixels)| {
            transpose(pixels, [channels, height * width], values);
            if let Some(normalize) = normalize {
                normalize.in_place(values);
            }
        });
        Ok(())
    })?;
    Ok(values.into())
}

/// From the gradient of what [`values`] gave, of these `dims`, to that of the pixels.
pub(super) fn gradient(
    grad: Values,
    dims: &[usize],
    normalize: Option<&Normalize>,
) -> Result<Tensor> {
    let grad = match (grad, normalize) {
        (Values::Host(mut grad), Some(normalize)) => {
            normalize.gradient(&mut grad);
            grad.into()
        }
        #[cfg(feature = "cuda")]
        (Values::Gpu(grad), Some(normalize)) => {
            let grad = grad.reshape(dims)?;
            normalize.gradient_on_gpu(&grad)?;
            grad.into()
        }
        (grad, _) => grad,
    };
    to_nchw(&grad.into_tensor(dims)?)
}

#[cfg(feature = "cuda")]
fn values_on_gpu(pixels: &Tensor, normalize: Option<&Normalize>) -> Result<Values> {
    match normalize {
        Some(normalize) => Ok(normalize.values_on_gpu(pixels)?.into()),
        None => Values::of(pixels),
    }
}

#[cfg(not(feature = "cuda"))]
fn values_on_gpu(_: &Tensor, _: Option<&Normalize>) -> Result<Values> {
    Err(Error::config("device", "this program was built without the feature `cuda`"))
}
