//! Decoupled knowledge distillation.

use candle_core::Tensor;
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::rows::{
    at, check, kl, log_softmax, one_hot, student, teacher, warm, with_labels, without,
};
use super::{Loss, LossInput};

/// `hard CE + w T^2 (alpha KL(b_t || b_s) + beta KL(q || p))`: b are the probabilities of the label and of all
/// other classes together, q and p those among the other classes, of teacher and student at T; w grows to 1
/// over `warmup` epochs (Zhao et al. 2022, arXiv:2203.08679, eq. 7 and 8).
///
/// Two classes have one other class, which is certain: the second term is 0. The authors' code takes the
/// logarithm of a softmax and reaches infinity for sure students; this is the logarithm from the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dkd {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the target class.
    pub alpha: f64,
    /// Weight of the other classes: 8, 6 or 2 by pair of networks in the paper.
    pub beta: f64,
    /// T > 0.
    pub temperature: f64,
    /// Epochs over which the teacher's weight grows.
    pub warmup: u64,
}

impl Default for Dkd {
    fn default() -> Self {
        Self { hard: 1.0, alpha: 1.0, beta: 8.0, temperature: 4.0, warmup: 20 }
    }
}

impl Loss for Dkd {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let target = one_hot(input.labels, input.logits)?;
        let [own, theirs] = [student(input)?, teacher(input)?].map(|z| z / self.temperature);
        let (own, theirs) = (own?, theirs?);
        let of_target = kl(&binary(&theirs, &target)?, &binary(&own, &target)?)?;
        let among = |z: &Tensor| log_softmax(&without(z, &target)?);
        let of_others = kl(&among(&theirs)?, &among(&own)?)?;
        let both = ((of_target * self.alpha)? + (of_others * self.beta)?)?.mean_all()?;
        let weight = warm(input.epoch, self.warmup) * self.temperature * self.temperature;
        with_labels(input, self.hard, (both * weight)?)
    }

    fn temperature(&self) -> Option<f64> {
        Some(self.temperature)
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        let weights = [("hard", self.hard), ("alpha", self.alpha), ("beta", self.beta)];
        check(&weights, &[self.temperature])
    }
}

/// Logarithms of the probability of the target and of that of all other classes, `(N, 2)`.
pub(super) fn binary(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    let own = at(logits, target)?;
    let others = without(logits, target)?;
    let largest = others.detach().max_keepdim(1)?;
    let sum = others.broadcast_sub(&largest)?.exp()?.sum_keepdim(1)?;
    let others = (sum.log()? + largest)?;
    log_softmax(&Tensor::cat(&[&own, &others], 1)?)
}
