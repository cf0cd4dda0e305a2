//! The same on a GPU.

use candle_core::Tensor;

use super::{SubsamplePad, not_images};
use crate::Result;
use crate::act::Act;
use crate::cuda::{Arg, Gpu, each};
use crate::ops::step::{Backward, Forward, OnGpu};

impl SubsamplePad {
    /// What the kernels are told of the input.
    fn sizes(&self, x: &Act) -> Result<[Arg; 5]> {
        let &[_, height, width, channels] = x.dims() else { return Err(not_images(x)) };
        Ok([height, width, channels, self.stride, self.n_zeros].map(Arg::from))
    }
}

impl OnGpu for SubsamplePad {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        let (act, x) = (step.input(0), step.input(0).gpu()?);
        let &[n, height, width, channels] = act.dims() else { return Err(not_images(act)) };
        let [height, width] = [height, width].map(|side| side.div_ceil(self.stride));
        let y = Gpu::of(&x)?.empty(&[n, height, width, channels + 2 * self.n_zeros])?;
        each("subsample", &[&x, &y], &self.sizes(act)?)?;
        Ok(y)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let x = step.input(0);
        let to_x = Gpu::of(&grad)?.empty(x.dims())?;
        each("subsample_backward", &[&grad, &to_x], &self.sizes(x)?)?;
        step.add(0, to_x)
    }
}
