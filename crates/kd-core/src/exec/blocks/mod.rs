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

use rayon::prelude::*;

use crate::act::{Buffer, Made};
use crate::ops::Op;
use crate::ops::step::{Backward, Forward, Reads, Weight};
#[cfg(feature = "cuda")]
use crate::ops::step::{OnGpu, not_on_gpu};
use crate::shards::Part;
use crate::{Mode, Result};

/// What the shards of a batch have in common in a step.
pub(super) struct Common<'a> {
    pub(super) part: &'a Part,
    pub(super) weights: &'a [Weight],
    pub(super) mode: Mode,
}

/// A step's work, as [`crate::ops::Operation`] has it, for all shards of a batch that are here.
pub(super) trait Block: Send + Sync {
    fn forward(&self, steps: &mut [Forward<'_>], common: &Common<'_>) -> Result<Vec<Made>>;

    /// `grads` have passed the clamp that made the outputs, if one did.
    fn backward(
        &self,
        grads: Vec<Buffer>,
        steps: &mut [Backward<'_>],
        common: &Common<'_>,
    ) -> Result<()>;

    /// # Errors
    /// Names what a GPU cannot compute yet.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Result<&dyn OnGpu>;

    fn reads(&self, trains: bool) -> Reads;

    /// Whether a clamp may have made the output, which is then read again.
    fn is_clamped(&self) -> bool;
}

/// What `work` makes of each of `items`, shards that do not look at each other.
pub(super) fn each<T: Send, R: Send>(
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> Result<R> + Send + Sync,
) -> Result<Vec<R>> {
    let mut items: Vec<T> = items.into_iter().collect();
    match items.len() {
        1 => Ok(vec![work(items.swap_remove(0))?]),
        _ => items.into_par_iter().map(work).collect(),
    }
}

/// One operation.
impl Block for Op {
    fn forward(&self, steps: &mut [Forward<'_>], _: &Common<'_>) -> Result<Vec<Made>> {
        each(steps, |step| self.as_dyn().forward(step))
    }

    fn backward(
        &self,
        grads: Vec<Buffer>,
        steps: &mut [Backward<'_>],
        _: &Common<'_>,
    ) -> Result<()> {
        each(grads.into_iter().zip(steps), |(grad, step)| self.as_dyn().backward(grad, step))?;
        Ok(())
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
