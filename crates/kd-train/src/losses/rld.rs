//! Refined logit distillation.

use candle_core::{DType, Tensor};
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::dkd::binary;
use super::rows::{
    at, check, kl, log_softmax, one_hot, student, teacher, warm, with_labels, without,
};
use super::{Loss, LossInput};

/// `hard CE + w (alpha A^2 KL(b_t || b_s) + beta T^2 KL(q || p))`: `b_t` are the teacher's probabilities of the class
/// it thinks most likely and of all others, `b_s` the student's of the label and of all others, at A; q and p are
/// those among the classes that the teacher thinks less likely than the label, at T; w grows to 1 over
/// `warmup` epochs (Sun et al. 2024, arXiv:2408.07703). A teacher that is wrong teaches no order of the classes
/// that it has before the label. Where it has all others before it, the second term is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rld {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the label's class.
    pub alpha: f64,
    /// A > 0.
    pub alpha_temperature: f64,
    /// Weight of the classes less likely than the label.
    pub beta: f64,
    /// T > 0.
    pub temperature: f64,
    /// Epochs over which the teacher's weight grows.
    pub warmup: u64,
}

impl Default for Rld {
    fn default() -> Self {
        Self {
            hard: 1.0,
            alpha: 1.0,
            alpha_temperature: 1.0,
            beta: 8.0,
            temperature: 4.0,
            warmup: 20,
        }
    }
}

impl Loss for Rld {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let (own, theirs) = (&student(input)?, teacher(input)?);
        let target = one_hot(input.labels, own)?;
        let most_likely = one_hot(&theirs.argmax(1)?, own)?;
        let sure = |z: &Tensor, class: &Tensor| binary(&(z / self.alpha_temperature)?, class);
        let of_label = kl(&sure(&theirs, &most_likely)?, &sure(own, &target)?)?;
        let refused = theirs.broadcast_ge(&at(&theirs, &target)?)?.to_dtype(DType::F64)?;
        let among = |z: &Tensor| log_softmax(&without(&(z / self.temperature)?, &refused)?);
        let of_others = kl(&among(&theirs)?, &among(own)?)?;
        let square = |temperature: f64| temperature * temperature;
        let of_label = (of_label * (self.alpha * square(self.alpha_temperature)))?;
        let of_others = (of_others * (self.beta * square(self.temperature)))?;
        let both = (of_label + of_others)?.mean_all()?;
        with_labels(input, self.hard, (both * warm(input.epoch, self.warmup))?)
    }

    fn temperature(&self) -> Option<f64> {
        Some(self.temperature)
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        let weights = [("hard", self.hard), ("alpha", self.alpha), ("beta", self.beta)];
        check(&weights, &[self.temperature, self.alpha_temperature])
    }
}
