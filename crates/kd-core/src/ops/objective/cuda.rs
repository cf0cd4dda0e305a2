//! The same on a GPU.

use candle_core::{DType, Tensor};

use super::{Hard, Soft};
use crate::Result;
use crate::cuda::{Arg, Gpu, Grid, each, empty_like, known, pointer};

/// Threads of a row.
const WARP: usize = 32;

/// The mean loss as an operation in candle's graph. Labels are not read here: one that is no class
/// makes the loss NaN.
pub(super) fn apply(
    logits: &Tensor,
    hard: Option<Hard<Tensor>>,
    soft: Option<Soft<Tensor>>,
) -> Result<Tensor> {
    let (n, n_classes) = logits.dims2()?;
    let gpu = Gpu::of(logits)?;
    let (losses, gradient, loss) = (gpu.empty(&[n])?, empty_like(logits)?, gpu.empty(&[])?);
    let (smoothing, hard_term) = match &hard {
        Some(hard) => (hard.smoothing, term(hard.weight, hard.temperature)),
        None => (0.0, term(0.0, 1.0)),
    };
    let off = (smoothing / n_classes as f64) as f32;
    let soft_term = soft.as_ref().map_or(term(0.0, 1.0), |s| term(s.weight, s.temperature));
    let args = [
        pointer(logits)?,
        Arg::optional(hard.as_ref().map(|hard| &hard.labels))?,
        hard_term,
        ((1.0 - smoothing) as f32 + off).into(),
        off.into(),
        Arg::optional(soft.as_ref().map(|soft| &soft.teacher))?,
        soft_term,
        pointer(&losses)?,
        pointer(&gradient)?,
        n.into(),
        n_classes.into(),
    ];
    gpu.launch("objective", Grid::over(n * WARP)?, &args)?;
    gpu.launch("mean", Grid::blocks(1, 1), &[pointer(&losses)?, pointer(&loss)?, n.into()])?;
    known(logits, loss, move |grad| scaled(&gradient, grad))
}

/// As the kernels' struct of this name.
fn term(weight: f64, temperature: f64) -> Arg {
    Arg::floats(&[weight, 1.0 / temperature, weight / temperature].map(|x| x as f32))
}

/// `values` times a factor that is on the GPU.
fn scaled(values: &Tensor, factor: &Tensor) -> Result<Tensor> {
    let to = empty_like(values)?;
    each("scaled", &[values, factor, &to], &[])?;
    Ok(to)
}

/// Adds to `counts`, f64: the loss, the rows whose label is the largest logit, and those whose label
/// is among the five largest.
pub(crate) fn count(
    loss: &Tensor,
    logits: &Tensor,
    labels: &Tensor,
    counts: &Tensor,
) -> Result<()> {
    debug_assert_eq!((labels.dtype(), counts.dtype()), (DType::U32, DType::F64));
    let (n, n_classes) = logits.dims2()?;
    let args = [
        pointer(loss)?,
        pointer(logits)?,
        pointer(labels)?,
        pointer(counts)?,
        n.into(),
        n_classes.into(),
    ];
    Gpu::of(logits)?.launch("count", Grid::blocks(1, 1), &args)
}
