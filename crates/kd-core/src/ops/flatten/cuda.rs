//! The same on a GPU.

use candle_core::Tensor;

use super::{Flatten, image};
use crate::Result;
use crate::ops::layout::cuda::transposed;
use crate::ops::step::{Backward, Forward, OnGpu};

impl OnGpu for Flatten {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        let (x, [n_pixels, n_channels]) = (step.input(0).gpu()?, image(step.input(0)));
        transposed(&x, [n_pixels, n_channels], &[x.dims()[0], n_pixels * n_channels])
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let (x, [n_pixels, n_channels]) = (step.input(0), image(step.input(0)));
        step.add(0, transposed(&grad, [n_channels, n_pixels], x.dims())?)
    }
}
