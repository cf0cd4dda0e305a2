//! Which epoch's weights a training ends with, and when it ends early.
//!
//! Key decision: the choice is made on images set aside from the training set, never on the test
//! set, so that the test accuracy of the chosen epoch is no more flattered than that of the last.

use std::collections::BTreeMap;

use candle_core::Tensor;
use kd_core::record::Evaluation;
use kd_core::{Params, Result};
use serde::{Deserialize, Serialize};

/// Which epoch's weights a training ends with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Those of the last one.
    #[default]
    Last,
    /// Those of the one that was best on the held-out images.
    BestHeldOut,
}

impl Keep {
    /// Whether it is the usual.
    pub(crate) fn is_last(&self) -> bool {
        *self == Self::Last
    }
}

/// The epoch that was best on the held-out images so far: the most accurate, of equals the one of
/// least negative log-likelihood, of equals the first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choice {
    pub(crate) seen: Seen,
    /// A copy of its weights, where they are to be kept.
    pub(crate) weights: BTreeMap<String, Tensor>,
}

/// What a [`Choice`] is made by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    top1: f64,
    nll: f64,
    /// Counted from 1; 0 before the first evaluation.
    pub(crate) epoch: u64,
}

impl Choice {
    /// Takes note of what the held-out images say after `epoch`.
    pub(crate) fn note(
        &mut self,
        held_out: &Evaluation,
        epoch: u64,
        (params, keep): (&Params, Keep),
    ) -> Result<()> {
        let Seen { top1, nll, epoch: best } = self.seen;
        let is_better =
            held_out.top1 > top1 || (held_out.top1.total_cmp(&top1).is_eq() && held_out.nll < nll);
        if best > 0 && !is_better {
            return Ok(());
        }
        self.seen = Seen { top1: held_out.top1, nll: held_out.nll, epoch };
        if keep == Keep::BestHeldOut {
            let copy = |(name, value): (String, Tensor)| Ok((name, value.copy()?));
            self.weights = params.tensors().into_iter().map(copy).collect::<Result<_>>()?;
        }
        Ok(())
    }

    /// Whether `patience` epochs up to `epoch` brought nothing better.
    pub(crate) fn is_over(&self, epoch: u64, patience: Option<u64>) -> bool {
        patience.is_some_and(|patience| epoch >= self.seen.epoch + patience)
    }

    /// Gives the network the weights that were kept, if any were.
    pub(crate) fn restore(&self, params: &Params) -> Result<()> {
        if self.weights.is_empty() { Ok(()) } else { params.load(&self.weights) }
    }
}
