//! The kernel's call.

use candle_core::Tensor;

use super::Window;
use crate::Result;
use crate::cuda::{Arg, Gpu, Grid, pointer};

pub(super) fn crop(pixels: &Tensor, windows: &[Window]) -> Result<Tensor> {
    let gpu = Gpu::of(pixels)?;
    let (_, n_channels, height, width) = pixels.dims4()?;
    let to = gpu.empty(&[windows.len(), n_channels, height, width])?;
    if windows.is_empty() {
        return Ok(to);
    }
    let words: Vec<u64> = windows.iter().flat_map(words).collect();
    let words = gpu.upload(&words)?;
    let n = to.elem_count();
    let args = [
        pointer(pixels)?,
        Arg::slice(&gpu, &words),
        pointer(&to)?,
        n_channels.into(),
        height.into(),
        width.into(),
        n.into(),
    ];
    gpu.launch("crop", Grid::over(n)?, &args)?;
    Ok(to)
}

/// As the kernels' struct of this name: four numbers of 32 bits.
fn words(window: &Window) -> [u64; 2] {
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let Window { index, top, left, flip } = *window;
    [join(index, top.cast_unsigned()), join(left.cast_unsigned(), flip.into())]
}
