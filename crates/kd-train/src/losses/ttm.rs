//! Transformed teacher matching.

use candle_core::{D, Tensor};
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::rows::{check, kl, log_softmax, student, teacher, with_labels};
use super::{Loss, LossInput};

/// `hard CE + soft mean_n u_n KL(q_n^g / sum_k q_nk^g || p_n)`: the teacher's probabilities to the power g, which
/// is a temperature of 1 / g, and the student's as they are; `u_n` is 1, or where it is `weighted`
/// `sum_k q_nk^g`, which is large for teachers that are not sure (Zheng and Yang 2024, arXiv:2402.11148, eq. 11
/// and 14: TTM and WTTM).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ttm {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the divergence.
    pub soft: f64,
    /// g > 0.
    pub gamma: f64,
    /// Whether images of which the teacher is less sure count more.
    pub weighted: bool,
}

impl Default for Ttm {
    /// The setting for VGG networks on CIFAR-100.
    fn default() -> Self {
        Self { hard: 1.0, soft: 45.0, gamma: 0.1, weighted: false }
    }
}

impl Loss for Ttm {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let powers = (log_softmax(&teacher(input)?)? * self.gamma)?;
        let mut divergence = kl(&log_softmax(&powers)?, &log_softmax(&student(input)?)?)?;
        if self.weighted {
            divergence = (divergence * powers.exp()?.sum(D::Minus1)?)?;
        }
        with_labels(input, self.hard, (divergence.mean_all()? * self.soft)?)
    }

    fn temperature(&self) -> Option<f64> {
        Some(1.0 / self.gamma)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        check(&[("hard", self.hard), ("soft", self.soft)], &[self.gamma])
    }
}
