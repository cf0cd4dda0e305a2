//! The same on a GPU.

use candle_core::Tensor;

use super::Relu;
use crate::Result;
use crate::ops::channels::cuda::{Affine, through_relu};
use crate::ops::step::{Backward, Forward, OnGpu};

impl OnGpu for Relu {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        Affine { relu: true, ..Affine::default() }.apply(&step.input(0).gpu()?)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        through_relu(&grad, &step.output.gpu()?, 1.0)?;
        step.add(0, grad)
    }
}
