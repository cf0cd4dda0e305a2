//! The same on a GPU, with the same mask.

use candle_core::Tensor;

use super::Dropout;
use super::cpu::Mask;
use crate::cuda::{Gpu, Grid, empty_like, pointer};
use crate::ops::step::{Backward, Forward, OnGpu};
use crate::{Mode, Result};

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

impl OnGpu for Dropout {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        let x = step.input(0).gpu()?;
        let Mode::Train(stream) = step.mode else { return Ok(x) };
        let y = empty_like(&x)?;
        self.mask(stream).write(&x, &y)?;
        Ok(y)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        if let Mode::Train(stream) = step.mode {
            self.mask(stream).write(&grad, &grad)?;
        }
        step.add(0, grad)
    }
}
