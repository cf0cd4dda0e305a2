//! Normalized knowledge distillation.

use candle_core::{D, Tensor};
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::rows::{at, check, log_softmax, one_hot, student, teacher, with_labels, without};
use super::{Loss, LossInput};

/// `hard CE - mean_n q_y log p_y - gamma T^2 mean_n sum_k q_k log p_k`: the label's probabilities at T = 1, and
/// those among the other classes at T (Yang et al. 2023, arXiv:2303.13005, eq. 8).
///
/// Differs from the authors' code, where the mask of the other classes leaves none out (ones are scattered into
/// ones), so that the second sum there is over all classes; this is the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nkd {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the other classes: 1.5 on ImageNet, 3.5 on CIFAR-100.
    pub gamma: f64,
    /// T > 0 of the other classes: 1 on ImageNet, 3 on CIFAR-100.
    pub temperature: f64,
}

impl Default for Nkd {
    fn default() -> Self {
        Self { hard: 1.0, gamma: 1.5, temperature: 1.0 }
    }
}

impl Loss for Nkd {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let (target, theirs) = (one_hot(input.labels, input.logits)?, teacher(input)?);
        let certain = at(&log_softmax(&theirs)?, &target)?.exp()?;
        let of_target = (certain * at(&log_softmax(&student(input)?)?, &target)?)?.mean_all()?;
        let among = |z: &Tensor| log_softmax(&without(&(z / self.temperature)?, &target)?);
        // The target's own product is 0 times a large number.
        let others = (among(&theirs)?.exp()? * among(&student(input)?)?)?;
        let of_others = others.sum(D::Minus1)?.mean_all()?;
        let weight = self.gamma * self.temperature * self.temperature;
        with_labels(input, self.hard, (of_target + (of_others * weight)?)?.neg()?)
    }

    fn temperature(&self) -> Option<f64> {
        Some(self.temperature)
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        check(&[("hard", self.hard), ("gamma", self.gamma)], &[self.temperature])
    }
}
