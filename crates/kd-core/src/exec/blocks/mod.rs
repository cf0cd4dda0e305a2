//! What a step of a plan computes: one operation, or several that are joined.

mod conv;
#[cfg(feature = "cuda")]
mod cuda;
mod linear;
mod norm;
mod sum;

pub(super) use conv::ConvBlock;
pub(super) use linear::LinearBlock;
pub(super) use norm::NormBlock;
pub(super) use sum::SumBlock;

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::Op;
use crate::ops::step::{Backward, Forward, Reads};
#[cfg(feature = "cuda")]
use crate::ops::step::{OnGpu, not_on_gpu};

/// A step's work, as [`crate::ops::Operation`] has it.
pub(super) trait Block: Send + Sync {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Made>;

    /// `grad` has passed the clamp that made the output, if one did.
    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()>;

    /// # Errors
    /// Names what a GPU cannot compute yet.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Result<&dyn OnGpu>;

    fn reads(&self, trains: bool) -> Reads;

    /// Whether a clamp may have made the output, which is then read again.
    fn is_clamped(&self) -> bool;
}

/// One operation.
impl Block for Op {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        self.as_dyn().forward(step)
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        self.as_dyn().backward(grad, step)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Result<&dyn OnGpu> {
        self.as_dyn().on_gpu().ok_or_else(|| not_on_gpu(self.name()))
    }

    fn reads(&self, _trains: bool) -> Reads {
        self.as_dyn().reads()
    }

    fn is_clamped(&self) -> bool {
        self.as_dyn().clamp().is_some() || self.as_dyn().keeps_clamp()
    }
}
