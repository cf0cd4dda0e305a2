//! The same on a GPU.

use candle_core::Tensor;

use super::cpu::Windows;
use super::{GlobalAvgPool, MaxPool};
use crate::Result;
use crate::act::Act;
use crate::cuda::{Arg, Gpu, each};
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
        let winners = gpu.empty_bytes(y.elem_count())?;
        each("max_pool", &[&x, &y, &winners], &[windows.words()])?;
        step.save(winners);
        Ok(y)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let (x, winners) = (step.input(0), step.saved::<Tensor>()?);
        let to_x = Gpu::of(&grad)?.empty(x.dims())?;
        let words = self.windows(x.dims()).words();
        each("max_pool_backward", &[&grad, &winners, &to_x], &[words])?;
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
        let (act, x) = (step.input(0), step.input(0).gpu()?);
        let y = Gpu::of(&x)?.empty(&[x.dims()[0], 1, 1, act.n_channels()])?;
        each("global_mean", &[&x, &y], &sizes(act))?;
        Ok(y)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let x = step.input(0);
        let to_x = Gpu::of(&grad)?.empty(x.dims())?;
        each("global_mean_backward", &[&grad, &to_x], &sizes(x))?;
        step.add(0, to_x)
    }
}
