//! The same on a GPU, but for the rounding: `x / std + (-mean / std)`, with one rounding of the sum.

use candle_core::Tensor;

use super::Normalize;
use crate::Result;
use crate::ops::channels::cuda::Affine;
use crate::ops::step::{Backward, Forward, OnGpu};

impl Normalize {
    /// The normalized values of images.
    pub(crate) fn values_on_gpu(&self, x: &Tensor) -> Result<Tensor> {
        let shift: Vec<f32> = self.mean.iter().zip(&self.std).map(|(m, std)| -m / std).collect();
        let (scale, shift) = (&self.scale(x.device())?, &Tensor::new(shift, x.device())?);
        Affine { scale: Some(scale), shift: Some(shift), ..Affine::default() }.apply(x)
    }

    /// As [`Normalize::gradient`].
    pub(crate) fn gradient_on_gpu(&self, grad: &Tensor) -> Result<()> {
        let scale = &self.scale(grad.device())?;
        Affine { scale: Some(scale), ..Affine::default() }.finish(grad)
    }

    /// What multiplies each channel.
    fn scale(&self, device: &candle_core::Device) -> Result<Tensor> {
        let scale: Vec<f32> = self.std.iter().map(|std| 1.0 / std).collect();
        Ok(Tensor::new(scale, device)?)
    }
}

impl OnGpu for Normalize {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        self.values_on_gpu(&step.input(0).gpu()?)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        self.gradient_on_gpu(&grad)?;
        step.add(0, grad)
    }
}
