//! The same on a GPU.

use candle_core::Tensor;

use crate::cuda::{Arg, Gpu, Grid, pointer};
use crate::gemm::Write;
use crate::ops::channels::cuda::{Relu, Sums, grad_sums, n_channels, width};
use crate::{Grad, Result};

/// The parameters and the running statistics of a batch norm.
pub(crate) struct Norm<'t> {
    pub(crate) gamma: &'t Tensor,
    pub(crate) beta: &'t Tensor,
    pub(crate) mean: &'t Tensor,
    pub(crate) variance: &'t Tensor,
    pub(crate) eps: f32,
}

/// Of a batch, by channel; `(4, C)`: mean, `1 / sqrt(variance + eps)`, and the scale and shift that
/// normalize.
#[derive(Clone)]
pub(crate) struct Stats(Tensor);

impl Stats {
    /// Those of `rows`; the running statistics move towards them by `momentum`.
    pub(crate) fn of(rows: &Tensor, norm: &Norm<'_>, momentum: f32) -> Result<Self> {
        let (gpu, n_channels) = (Gpu::of(rows)?, n_channels(rows));
        let n_rows = rows.elem_count() / n_channels.max(1);
        let sums = Sums::new(rows)?;
        let kernel = if width(n_channels) == 4 { "moments4" } else { "moments1" };
        let args = [pointer(rows)?, pointer(&sums.partial)?, n_rows.into(), n_channels.into()];
        gpu.launch(kernel, sums.grid, &args)?;
        let stats = gpu.empty(&[4, n_channels])?;
        let args = [
            pointer(&sums.partial)?,
            sums.n_parts().into(),
            pointer(rows)?,
            n_rows.into(),
            pointer(norm.gamma)?,
            pointer(norm.beta)?,
            norm.eps.into(),
            momentum.into(),
            pointer(norm.mean)?,
            pointer(norm.variance)?,
            pointer(&stats)?,
            n_channels.into(),
        ];
        gpu.launch("moments_finish", Grid::channels(n_channels), &args)?;
        Ok(Self(stats))
    }

    fn row(&self, i: usize) -> Result<Tensor> {
        Ok(self.0.get(i)?)
    }

    /// What multiplies and what is added to each channel.
    pub(crate) fn affine(&self) -> Result<[Tensor; 2]> {
        Ok([self.row(2)?, self.row(3)?])
    }

    /// Takes `grad` through `relu`, deposits the gradients of gamma and beta, and turns `rows` into
    /// their own gradient.
    pub(crate) fn backward(
        &self,
        (grad, rows): (&Tensor, &Tensor),
        relu: Relu<'_>,
        gamma: &Tensor,
        [to_gamma, to_beta]: [&Grad; 2],
    ) -> Result<()> {
        let sums = grad_sums(grad, relu, Some((rows, &self.0)))?;
        let (gpu, n_channels) = (Gpu::of(rows)?, n_channels(rows));
        let n = rows.elem_count();
        let abc = gpu.empty(&[3, n_channels])?;
        let [(to_gamma, set_gamma), (to_beta, set_beta)] = [to_gamma.write(), to_beta.write()];
        let adds = |write| matches!(write, Write::Add);
        let args = [
            pointer(&sums.partial)?,
            sums.n_parts().into(),
            (n / n_channels.max(1)).into(),
            pointer(&self.0)?,
            pointer(gamma)?,
            pointer(to_gamma)?,
            adds(set_gamma).into(),
            pointer(to_beta)?,
            adds(set_beta).into(),
            pointer(&abc)?,
            n_channels.into(),
        ];
        gpu.launch("norm_grad_finish", Grid::channels(n_channels), &args)?;
        let width = width(n_channels);
        let kernel = if width == 4 { "norm_grad4" } else { "norm_grad1" };
        let again = matches!(relu, Relu::OfRows).then_some(&self.0);
        let args = [
            pointer(grad)?,
            pointer(rows)?,
            pointer(&abc)?,
            Arg::optional(again)?,
            n.into(),
            n_channels.into(),
        ];
        gpu.launch(kernel, Grid::over(n / width)?, &args)
    }
}

/// What multiplies and what is added to each channel in evaluation.
pub(crate) fn running_affine(norm: &Norm<'_>) -> Result<[Tensor; 2]> {
    let (gpu, n_channels) = (Gpu::of(norm.gamma)?, norm.gamma.elem_count());
    let affine = gpu.empty(&[2, n_channels])?;
    let args = [
        pointer(norm.gamma)?,
        pointer(norm.beta)?,
        pointer(norm.mean)?,
        pointer(norm.variance)?,
        norm.eps.into(),
        pointer(&affine)?,
        n_channels.into(),
    ];
    gpu.launch("running_affine", Grid::over(n_channels)?, &args)?;
    Ok([affine.get(0)?, affine.get(1)?])
}
