//! Distillation with a temperature for each row.

use candle_core::Tensor;
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::rows::{check, deviation, kl, log_softmax, student, teacher, with_labels};
use super::{Loss, LossInput};

/// `hard CE + soft mean_n T_n^2 KL(softmax(t_n / T_n) || softmax(s_n / S_n))`, `T_n = t std(t_n)` and
/// `S_n = t std(s_n)`, the deviations unbiased (Chi et al. 2023, arXiv:2308.00520, NormKD). Gradients flow
/// through the student's deviation, as in the authors' code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormKd {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the divergence.
    pub soft: f64,
    /// t > 0: temperatures in deviations.
    pub temperature: f64,
}

impl Default for NormKd {
    /// Those of ImageNet.
    fn default() -> Self {
        Self { hard: 0.5, soft: 0.5, temperature: 1.0 }
    }
}

impl Loss for NormKd {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let (own, theirs) = (student(input)?, teacher(input)?);
        let of_teacher = (deviation(&theirs)? * self.temperature)?;
        let of_student = (deviation(&own)? * self.temperature)?;
        let log_q = log_softmax(&theirs.broadcast_div(&of_teacher)?)?;
        let log_p = log_softmax(&own.broadcast_div(&of_student)?)?;
        let weighted = (kl(&log_q, &log_p)? * of_teacher.sqr()?.squeeze(1)?)?;
        with_labels(input, self.hard, (weighted.mean_all()? * self.soft)?)
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        check(&[("hard", self.hard), ("soft", self.soft)], &[self.temperature])
    }
}
