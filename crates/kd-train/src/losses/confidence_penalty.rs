//! Labels, and a penalty on being sure.

use candle_core::Tensor;
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::rows::{check, log_softmax, student, with_labels};
use super::{Loss, LossInput};

/// `CE - beta mean_n H(p_n)`, with the entropy of the student's probabilities (Pereyra et al. 2017,
/// arXiv:1701.06548, section 3): a control without a teacher, which any distillation should beat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfidencePenalty {
    /// Weight of the entropy.
    pub beta: f64,
}

impl Default for ConfidencePenalty {
    fn default() -> Self {
        Self { beta: 0.1 }
    }
}

impl Loss for ConfidencePenalty {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let log_p = log_softmax(&student(input)?)?;
        let negative_entropy = (log_p.exp()? * log_p)?.sum(1)?.mean_all()?;
        with_labels(input, 1.0, (negative_entropy * self.beta)?)
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        check(&[("beta", self.beta)], &[])
    }
}
