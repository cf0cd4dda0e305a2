//! `clamp(x + y)`.

use super::{Block, Common, each};
use crate::Result;
use crate::act::{Buffer, Clamp, Made};
use crate::ops::channels;
use crate::ops::step::{Backward, Forward, Reads};

/// The sum of two activations, and the clamp after it.
pub(crate) struct SumBlock {
    pub(crate) clamp: Clamp,
}

impl Block for SumBlock {
    fn forward(&self, steps: &mut [Forward<'_>], _: &Common<'_>) -> Result<Vec<Made>> {
        each(steps, |step| {
            let mut sum = Buffer::copy_of(step.input(0).values());
            channels::add_and_clamp(&mut sum, step.input(1).values(), self.clamp);
            Ok(Made::after(sum, self.clamp))
        })
    }

    fn backward(
        &self,
        grads: Vec<Buffer>,
        steps: &mut [Backward<'_>],
        _: &Common<'_>,
    ) -> Result<()> {
        each(grads.into_iter().zip(steps), |(grad, step)| {
            step.add(0, Buffer::copy_of(&grad))?;
            step.add(1, grad)
        })?;
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Result<&dyn super::OnGpu> {
        Ok(self)
    }

    fn reads(&self, _trains: bool) -> Reads {
        Reads { inputs: false, output: false }
    }

    fn is_clamped(&self) -> bool {
        !self.clamp.is_none()
    }
}
