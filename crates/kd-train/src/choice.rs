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
    /// Those of the one that was best on the held-out images: the most accurate, of equals the one of least
    /// negative log-likelihood, of equals the first.
    BestHeldOut,
    /// Those of the last one whose accuracy on the held-out images is within a standard error of the best
    /// so far. Few images cannot tell the epochs apart whose rates have fallen, but see when one goes wrong.
    LastNearBest,
}

impl Keep {
    /// Whether it is the usual.
    pub(crate) fn is_last(&self) -> bool {
        *self == Self::Last
    }
}

/// The epoch that the held-out images have chosen so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choice {
    pub(crate) seen: Seen,
    /// A copy of its weights, where they are to be kept.
    pub(crate) weights: BTreeMap<String, Tensor>,
}

/// What a [`Choice`] is made by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The highest accuracy.
    top1: f64,
    /// Of the chosen epoch.
    nll: f64,
    /// The chosen one, counted from 1; 0 before the first evaluation.
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
        let is_chosen = match keep {
            Keep::LastNearBest => held_out.top1 >= top1 - accuracy_error(top1, held_out.total),
            _ => {
                let is_equal = held_out.top1.total_cmp(&top1).is_eq();
                held_out.top1 > top1 || (is_equal && held_out.nll < nll)
            }
        };
        if best > 0 && !is_chosen {
            return Ok(());
        }
        self.seen = Seen { top1: top1.max(held_out.top1), nll: held_out.nll, epoch };
        if keep != Keep::Last {
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

/// The standard error of an accuracy of `n` images, with two right and two wrong ones added to them (Agresti and
/// Coull, 1998): where no mistake was made, one more among a few dozen images is within it.
pub fn accuracy_error(top1: f64, n: usize) -> f64 {
    let n = n as f64;
    let p = (top1 * n + 2.0) / (n + 4.0);
    (p * (1.0 - p) / (n + 4.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(keep: Keep, accuracies: &[f64]) -> u64 {
        let mut choice = Choice::default();
        for (epoch, top1) in (1..).zip(accuracies) {
            let held_out =
                Evaluation { top1: *top1, total: 100, nll: 1.0, ..Evaluation::default() };
            choice.note(&held_out, epoch, (&Params::default(), keep)).unwrap();
        }
        choice.seen.epoch
    }

    /// One standard error at 0.9 of 100 images is 3.13 points.
    #[test]
    fn the_best_epoch_is_kept_or_the_last_that_is_no_worse() {
        let accuracies = [0.5, 0.9, 0.88, 0.875, 0.86];
        assert_eq!(chosen(Keep::BestHeldOut, &accuracies), 2);
        assert_eq!(chosen(Keep::LastNearBest, &accuracies), 4);
        assert_eq!(chosen(Keep::LastNearBest, &[0.5, 0.9, 0.88, 0.95, 0.9]), 4);
    }

    #[test]
    fn no_mistake_is_no_certainty() {
        let of_none = accuracy_error(1.0, 35);
        assert!((of_none - (37.0f64 * 2.0 / 39.0f64.powi(3)).sqrt()).abs() < 1e-12);
        assert!(of_none > 1.0 / 35.0, "one mistake is within it");
        assert!(accuracy_error(0.0, 0).is_finite());
    }
}
