//! Distillation from a teacher that is made up.

use candle_core::Tensor;
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::rows::{check, kl, log_softmax, one_hot, student, with_labels};
use super::{Loss, LossInput};

/// `(1 - alpha) CE + alpha T^2 mean_n KL(q_n || p_n)`, where q is the made-up teacher `a` at the label and
/// `(1 - a) / (K - 1)` elsewhere, its logarithms taken for logits, and both at T (Yuan et al. 2020,
/// arXiv:1909.11723, eq. 9 and 10, Tf-KD with a designed teacher).
///
/// Differs from the authors' code, which takes the probabilities themselves for logits, so that at T = 20 its
/// teacher is uniform to two digits, has no T at the student, and divides by K; that is label smoothing by
/// another name. This is the equation, with the T^2 of all soft targets here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherFree {
    /// Weight of the made-up teacher, in `[0, 1]`.
    pub alpha: f64,
    /// Its probability of the label, above 0 and below 1.
    pub certainty: f64,
    /// T > 0.
    pub temperature: f64,
}

impl Default for TeacherFree {
    fn default() -> Self {
        Self { alpha: 0.1, certainty: 0.99, temperature: 20.0 }
    }
}

impl Loss for TeacherFree {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let target = one_hot(input.labels, input.logits)?;
        let other = ((1.0 - self.certainty) / (input.logits.dim(1)? - 1).max(1) as f64).ln();
        let made_up = ((target * (self.certainty.ln() - other))? + other)?;
        let at = |z: &Tensor| log_softmax(&(z / self.temperature)?);
        let divergence = kl(&at(&made_up)?, &at(&student(input)?)?)?.mean_all()?;
        let weight = self.alpha * self.temperature * self.temperature;
        with_labels(input, 1.0 - self.alpha, (divergence * weight)?)
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        if !(self.certainty > 0.0 && self.certainty < 1.0) {
            let reason = format!("{} is not between 0 and 1", self.certainty);
            return Err(Error::config("certainty", reason));
        }
        check(&[("alpha", self.alpha), ("1 - alpha", 1.0 - self.alpha)], &[self.temperature])
    }
}
