//! The same on a GPU, as steps of a tape.

use candle_core::Tensor;

use super::cpu::Windows;
use crate::cuda::{Arg, Gpu, Grid, pointer};
use crate::{Act, Result, Tape};

impl Windows {
    /// As the kernels' struct of this name.
    fn words(&self) -> Arg {
        let Self { size, channels, out_size, kernel, stride, padding, .. } = *self;
        let fields = [
            size[0],
            size[1],
            channels,
            out_size[0],
            out_size[1],
            kernel[0],
            kernel[1],
            stride,
            padding,
        ];
        Arg::Words(fields.map(|field| field as u32).to_vec())
    }

    fn in_dims(&self) -> [usize; 4] {
        [self.n, self.size[0], self.size[1], self.channels]
    }

    /// Number of values of the output.
    fn n_out(&self) -> usize {
        self.out_dims().iter().product()
    }
}

impl Tape {
    /// [`Tape::max_pool2d`] for `values` of `x` on a GPU.
    pub(super) fn max_pool2d_cuda(
        &mut self,
        (x, values): (&Act, &Tensor),
        windows: Windows,
    ) -> Result<Act> {
        let (gpu, n) = (Gpu::of(values)?, windows.n_out());
        let (out, winners) = (gpu.empty(&windows.out_dims())?, gpu.empty_bytes(n)?);
        let args =
            [pointer(values)?, pointer(&out)?, pointer(&winners)?, windows.words(), n.into()];
        gpu.launch("max_pool", Grid::over(n)?, &args)?;
        let y = self.output(&windows.out_dims(), out, &[x]);
        let x = x.clone();
        self.record_any(&y, move |grad, grads| {
            let (grad, to) = (grad.on_gpu()?, gpu.empty(&windows.in_dims())?);
            let n = to.elem_count();
            let args =
                [pointer(&grad)?, pointer(&winners)?, pointer(&to)?, windows.words(), n.into()];
            gpu.launch("max_pool_backward", Grid::over(n)?, &args)?;
            grads.add(&x, to)
        });
        Ok(y)
    }

    /// [`Tape::global_avg_pool`] for `values` of `x` on a GPU.
    pub(super) fn global_avg_pool_cuda(
        &mut self,
        (x, values): (&Act, &Tensor),
        windows: Windows,
    ) -> Result<Act> {
        let gpu = Gpu::of(values)?;
        let [n_images, height, width, n_channels] = windows.in_dims();
        let sizes = [(height * width).into(), n_channels.into()];
        let out = gpu.empty(&[n_images, n_channels])?;
        let n = out.elem_count();
        let [n_pixels, channels] = sizes.clone();
        let args = [pointer(values)?, pointer(&out)?, n_pixels, channels, n.into()];
        gpu.launch("global_mean", Grid::over(n)?, &args)?;
        let y = self.output(&[n_images, n_channels], out, &[x]);
        let x = x.clone();
        self.record_any(&y, move |grad, grads| {
            let (grad, to) = (grad.on_gpu()?, gpu.empty(&windows.in_dims())?);
            let (n, [n_pixels, channels]) = (to.elem_count(), sizes);
            let args = [pointer(&grad)?, pointer(&to)?, n_pixels, channels, n.into()];
            gpu.launch("global_mean_backward", Grid::over(n)?, &args)?;
            grads.add(&x, to)
        });
        Ok(y)
    }

    /// [`Tape::subsample`] for `values` of `x` on a GPU; `windows` are single pixels.
    pub(super) fn subsample_cuda(
        &mut self,
        (x, values): (&Act, &Tensor),
        windows: Windows,
        n_zeros: usize,
    ) -> Result<Act> {
        let gpu = Gpu::of(values)?;
        let [n_images, height, width, n_channels] = windows.out_dims();
        let out = gpu.empty(&[n_images, height, width, n_channels + 2 * n_zeros])?;
        let n = out.elem_count();
        let args = [pointer(values)?, pointer(&out)?, windows.words(), n_zeros.into(), n.into()];
        gpu.launch("subsample", Grid::over(n)?, &args)?;
        let y = self.output(out.dims(), out.clone(), &[x]);
        let x = x.clone();
        self.record_any(&y, move |grad, grads| {
            let (grad, to) = (grad.on_gpu()?, gpu.empty(&windows.in_dims())?);
            let n = to.elem_count();
            let args = [pointer(&grad)?, pointer(&to)?, windows.words(), n_zeros.into(), n.into()];
            gpu.launch("subsample_backward", Grid::over(n)?, &args)?;
            grads.add(&x, to)
        });
        Ok(y)
    }
}
