//! The same on a GPU.

use candle_core::Tensor;

use super::{SubsamplePad, not_images};
use crate::Result;
use crate::act::Act;
use crate::cuda::{Arg, Gpu, Grid, pointer};
use crate::ops::step::{Backward, Forward, OnGpu};

impl SubsamplePad {
    /// Writes to `to`, values or gradients, those of `from`.
    fn launch(&self, kernel: &'static str, x: &Act, [from, to]: [&Tensor; 2]) -> Result<()> {
        let &[_, height, width, channels] = x.dims() else { return Err(not_images(x)) };
        let n = to.elem_count();
        let numbers = [height, width, channels, self.stride, self.n_zeros, n].map(Arg::from);
        let args = [&[pointer(from)?, pointer(to)?], &numbers[..]].concat();
        Gpu::of(to)?.launch(kernel, Grid::over(n)?, &args)
    }
}

impl OnGpu for SubsamplePad {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        let (act, x) = (step.input(0), step.input(0).gpu()?);
        let &[n, height, width, channels] = act.dims() else { return Err(not_images(act)) };
        let [height, width] = [height, width].map(|side| side.div_ceil(self.stride));
        let y = Gpu::of(&x)?.empty(&[n, height, width, channels + 2 * self.n_zeros])?;
        self.launch("subsample", act, [&x, &y])?;
        Ok(y)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let x = step.input(0);
        let to_x = Gpu::of(&grad)?.empty(x.dims())?;
        self.launch("subsample_backward", x, [&grad, &to_x])?;
        step.add(0, to_x)
    }
}
