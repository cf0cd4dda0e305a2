//! The same on a GPU.

use candle_core::Tensor;

use crate::cuda::{Arg, Gpu, Grid, empty_like, pointer};
use crate::gemm::Write;
use crate::ops::BatchNorm;
use crate::ops::channels::cuda::{Relu, Sums, grad_sums, n_channels, width};
use crate::ops::step::Weight;
use crate::{Grad, Result};

/// The parameters and the running statistics of a batch norm.
pub(crate) struct Norm<'t> {
    gamma: &'t Tensor,
    beta: &'t Tensor,
    mean: &'t Tensor,
    variance: &'t Tensor,
    eps: f32,
    momentum: f32,
}

impl<'t> Norm<'t> {
    /// Those of `norm`, in the order of its parameters.
    pub(crate) fn new(norm: &BatchNorm, weights: &'t [Weight]) -> Self {
        let BatchNorm { eps, momentum } = *norm;
        let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(|i| &weights[i].value);
        Self { gamma, beta, mean, variance, eps, momentum }
    }
}

/// Of a batch, by channel; `(4, C)`: mean, `1 / sqrt(variance + eps)`, and the scale and shift that
/// normalize.
pub(crate) struct Stats(Tensor);

impl Stats {
    /// Those of `rows`; the running statistics move towards them.
    pub(crate) fn of(rows: &Tensor, norm: &Norm<'_>) -> Result<Self> {
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
            norm.momentum.into(),
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
        norm: &Norm<'_>,
        [of_gamma, of_beta]: [Option<&Grad>; 2],
    ) -> Result<()> {
        let sums = grad_sums(grad, relu, Some((rows, &self.0)))?;
        let (gpu, n_channels) = (Gpu::of(rows)?, n_channels(rows));
        let n = rows.elem_count();
        let abc = gpu.empty(&[3, n_channels])?;
        let ((to_gamma, add_gamma), (to_beta, add_beta)) =
            (target(of_gamma, norm.gamma)?, target(of_beta, norm.beta)?);
        let args = [
            pointer(&sums.partial)?,
            sums.n_parts().into(),
            (n / n_channels.max(1)).into(),
            pointer(&self.0)?,
            pointer(norm.gamma)?,
            pointer(&to_gamma)?,
            add_gamma.into(),
            pointer(&to_beta)?,
            add_beta.into(),
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

/// Where a gradient goes, and whether it is added to what is there; memory that nobody reads if it
/// goes nowhere.
fn target(sink: Option<&Grad>, like: &Tensor) -> Result<(Tensor, bool)> {
    let Some(sink) = sink else { return Ok((empty_like(like)?, false)) };
    let (to, write) = sink.write();
    Ok((to.clone(), matches!(write, Write::Add)))
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
