//! The same on a GPU.

use candle_core::Tensor;

use crate::cuda::{Arg, Gpu, Grid, THREADS, each, empty_like, pointer};
use crate::gemm::Write;
use crate::{Grad, Result};

/// `relu?(x scale? + shift? + residual?)`; scale and shift have one value a channel.
#[derive(Default)]
pub(crate) struct Affine<'t> {
    pub(crate) scale: Option<&'t Tensor>,
    pub(crate) shift: Option<&'t Tensor>,
    pub(crate) residual: Option<&'t Tensor>,
    pub(crate) relu: bool,
}

impl Affine<'_> {
    /// The values for `x`.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let y = empty_like(x)?;
        self.write(x, &y)?;
        Ok(y)
    }

    /// The same in place.
    pub(crate) fn finish(&self, y: &Tensor) -> Result<()> {
        let Self { scale, shift, residual, relu } = *self;
        if !relu && [scale, shift, residual].iter().all(Option::is_none) {
            return Ok(());
        }
        self.write(y, y)
    }

    /// Writes them to `y`, which may be `x`.
    fn write(&self, x: &Tensor, y: &Tensor) -> Result<()> {
        let (n, n_channels) = (x.elem_count(), n_channels(x));
        let width = width(n_channels);
        let kernel = if width == 4 { "affine4" } else { "affine1" };
        let args = [
            pointer(x)?,
            Arg::optional(self.scale)?,
            Arg::optional(self.shift)?,
            Arg::optional(self.residual)?,
            self.relu.into(),
            pointer(y)?,
            n.into(),
            n_channels.into(),
        ];
        Gpu::of(x)?.launch(kernel, Grid::over(n / width)?, &args)
    }
}

/// The last dimension.
pub(crate) fn n_channels(x: &Tensor) -> usize {
    x.dims().last().copied().unwrap_or(1)
}

/// Channels that a thread takes at once.
pub(crate) fn width(n_channels: usize) -> usize {
    if n_channels.is_multiple_of(4) { 4 } else { 1 }
}

/// Where the output `y` of a ReLU is positive, `grad` is multiplied by `scale`; else it becomes 0.
pub(crate) fn through_relu(grad: &Tensor, y: &Tensor, scale: f32) -> Result<()> {
    each("through_relu", &[grad, y], &[scale.into()])
}

/// Two sums over rows for each channel, in parts that are not added up yet.
pub(crate) struct Sums {
    /// `(parts, 2, C)`
    pub(crate) partial: Tensor,
    /// The grid that forms them.
    pub(crate) grid: Grid,
}

/// Blocks that a GPU has work for at once, about.
const MAX_BLOCKS: usize = 528;
/// Rows that a thread sums at least.
const MIN_ROWS: usize = 4;

impl Sums {
    /// Room for those of `x`.
    pub(crate) fn new(x: &Tensor) -> Result<Self> {
        let n_channels = n_channels(x);
        let n_columns = n_channels / width(n_channels);
        let n_lanes = THREADS / n_columns.clamp(1, THREADS);
        let n_rows = x.elem_count() / n_channels.max(1);
        let tiles = n_columns.div_ceil(THREADS);
        let n_parts = (n_rows / (n_lanes * MIN_ROWS)).clamp(1, (MAX_BLOCKS / tiles).max(1));
        let partial = Gpu::of(x)?.empty(&[n_parts, 2, n_channels])?;
        Ok(Self { partial, grid: Grid::blocks(tiles, n_parts) })
    }

    /// Number of parts.
    pub(crate) fn n_parts(&self) -> usize {
        self.partial.dims()[0]
    }

    /// Adds the first sums to the gradient that `sink` holds.
    pub(crate) fn deposit(&self, sink: &Grad) -> Result<()> {
        let n_channels = n_channels(&self.partial);
        let (to, write) = sink.write();
        let args = [
            pointer(&self.partial)?,
            self.n_parts().into(),
            pointer(to)?,
            matches!(write, Write::Add).into(),
            n_channels.into(),
        ];
        Gpu::of(to)?.launch("sums_finish", Grid::channels(n_channels), &args)
    }
}

/// The ReLU that a gradient goes through.
#[derive(Clone, Copy)]
pub(crate) enum Relu<'t> {
    /// None.
    No,
    /// One with this output; what passes is multiplied by the number. In place.
    Of(&'t Tensor, f32),
    /// One of the normalized rows: its output is computed again. The gradient stays as it is.
    OfRows,
}

/// Sums of `grad` after `relu` and, with rows and their statistics `(4, C)`, of
/// `grad (row - mean)`.
pub(crate) fn grad_sums(
    grad: &Tensor,
    relu: Relu<'_>,
    rows: Option<(&Tensor, &Tensor)>,
) -> Result<Sums> {
    let sums = Sums::new(grad)?;
    let n_channels = n_channels(grad);
    let kernel = if width(n_channels) == 4 { "grad_sums4" } else { "grad_sums1" };
    let (output, scale) = match relu {
        Relu::Of(output, scale) => (Some(output), scale),
        Relu::No | Relu::OfRows => (None, 1.0),
    };
    let args = [
        pointer(grad)?,
        Arg::optional(output)?,
        scale.into(),
        Arg::optional(rows.map(|(rows, _)| rows))?,
        Arg::optional(rows.map(|(_, stats)| stats))?,
        matches!(relu, Relu::OfRows).into(),
        pointer(&sums.partial)?,
        (grad.elem_count() / n_channels.max(1)).into(),
        n_channels.into(),
    ];
    Gpu::of(grad)?.launch(kernel, sums.grid, &args)?;
    Ok(sums)
}
