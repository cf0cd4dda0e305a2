//! A training step of a batch in shards, between forward and backward.

use candle_core::Tensor;

use super::courier::Update;
use super::run::Run;
use crate::act::Values;
use crate::{Error, Result};

/// A network that has run forward, in training, on the shards of a batch that are here.
pub struct Pass {
    run: Run,
    logits: Vec<Tensor>,
}

impl Pass {
    /// A run whose first output is the logits.
    pub(super) fn new(run: Run) -> Result<Self> {
        let logits = run.outputs_of_shards().into_iter().map(|mut outputs| {
            let act = outputs.swap_remove(0);
            let dims = act.dims().to_vec();
            act.into_values()?.into_tensor(&dims)
        });
        Ok(Self { logits: logits.collect::<Result<_>>()?, run })
    }

    /// The logits of each shard that has images, `(N, K)`, as constants.
    pub fn logits(&self) -> &[Tensor] {
        &self.logits
    }

    /// Runs backward from the gradients of the logits. As soon as those of a parameter are summed over the
    /// whole batch, `update` moves it: on each rank the part that is the rank's own, which then goes to
    /// all others. No gradient is left.
    ///
    /// # Errors
    /// [`Error::Config`] for another number of gradients than of logits; [`Error::Rank`] when another
    /// rank is gone; what `update` reports.
    pub fn backward(self, of_logits: &[Tensor], update: &mut Update<'_>) -> Result<()> {
        if of_logits.len() != self.logits.len() {
            let reason = format!("{} shards have {} gradients", self.logits.len(), of_logits.len());
            return Err(Error::config("shards", reason));
        }
        let values = of_logits.iter().map(|grad| Ok(vec![Some(Values::of(grad)?)]));
        self.run.backward_shards(values.collect::<Result<_>>()?, update)
    }
}
