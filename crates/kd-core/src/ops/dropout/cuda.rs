//! The same on a GPU, with the same mask.

use candle_core::Tensor;

use super::cpu::Mask;
use crate::Result;
use crate::cuda::{Gpu, Grid, empty_like, known, pointer};

/// Values that a thread covers.
const PER_THREAD: usize = 8;
/// Values that sixteen threads cover together.
const WIDE: usize = 16 * PER_THREAD;

impl Mask {
    /// Writes `x` times the mask to `y`, which may be `x`.
    pub(crate) fn write(&self, x: &Tensor, y: &Tensor) -> Result<()> {
        let n = x.elem_count();
        let [key0, key1] = self.stream.key();
        let args = [
            pointer(x)?,
            pointer(y)?,
            key0.into(),
            key1.into(),
            self.threshold.into(),
            self.scale.into(),
            n.into(),
        ];
        let n_threads = n.div_ceil(WIDE) * WIDE / PER_THREAD;
        Gpu::of(x)?.launch("dropout", Grid::over(n_threads)?, &args)
    }
}

/// The operation in candle's graph.
pub(super) fn dropout(x: &Tensor, mask: Mask) -> Result<Tensor> {
    let y = empty_like(x)?;
    mask.write(x, &y)?;
    known(x, y, move |grad| {
        let to = empty_like(grad)?;
        mask.write(grad, &to)?;
        Ok(to)
    })
}
