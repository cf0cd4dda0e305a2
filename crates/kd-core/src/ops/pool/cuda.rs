//! The same on a GPU.

use candle_core::Tensor;

use super::cpu::Windows;
use super::{GlobalAvgPool, MaxPool};
use crate::Result;
use crate::act::Act;
use crate::cuda::{Arg, Gpu, Grid, pointer};
use crate::ops::step::{Backward, Forward, OnGpu};

impl Windows {
    /// As the kernels' struct of this name.
    fn words(&self) -> Arg {
        let Self { size, channels, out_size, kernel, stride, before, .. } = *self;
        let fields = [&size[..], &[channels], &out_size, &kernel, &stride, &before].concat();
        Arg::Words(fields.into_iter().map(|field| field as u32).collect())
    }
}

impl OnGpu for MaxPool {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        let x = step.input(0).gpu()?;
        let (gpu, windows) = (Gpu::of(&x)?, self.windows(x.dims()));
        let [height, width] = windows.out_size;
        let y = gpu.empty(&[windows.n, height, width, windows.channels])?;
        let n = y.elem_count();
        let winners = gpu.empty_bytes(n)?;
        let args = [pointer(&x)?, pointer(&y)?, pointer(&winners)?, windows.words(), n.into()];
        gpu.launch("max_pool", Grid::over(n)?, &args)?;
        step.save(winners);
        Ok(y)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let (x, winners) = (step.input(0), step.saved::<Tensor>()?);
        let (gpu, words) = (Gpu::of(&grad)?, self.windows(x.dims()).words());
        let to_x = gpu.empty(x.dims())?;
        let n = to_x.elem_count();
        let args = [pointer(&grad)?, pointer(&winners)?, pointer(&to_x)?, words, n.into()];
        gpu.launch("max_pool_backward", Grid::over(n)?, &args)?;
        step.add(0, to_x)
    }
}

/// Pixels of an image, and channels.
fn sizes(x: &Act) -> [Arg; 2] {
    let n_pixels: usize = x.dims()[1..3].iter().product();
    [n_pixels.into(), x.n_channels().into()]
}

impl OnGpu for GlobalAvgPool {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        let (x, [n_pixels, n_channels]) = (step.input(0).gpu()?, sizes(step.input(0)));
        let gpu = Gpu::of(&x)?;
        let y = gpu.empty(&[x.dims()[0], 1, 1, step.input(0).n_channels()])?;
        let n = y.elem_count();
        let args = [pointer(&x)?, pointer(&y)?, n_pixels, n_channels, n.into()];
        gpu.launch("global_mean", Grid::over(n)?, &args)?;
        Ok(y)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let (x, [n_pixels, n_channels]) = (step.input(0), sizes(step.input(0)));
        let gpu = Gpu::of(&grad)?;
        let to_x = gpu.empty(x.dims())?;
        let n = to_x.elem_count();
        let args = [pointer(&grad)?, pointer(&to_x)?, n_pixels, n_channels, n.into()];
        gpu.launch("global_mean_backward", Grid::over(n)?, &args)?;
        step.add(0, to_x)
    }
}
