//! Distillation from a teacher's logits.

use candle_core::Tensor;
use kd_core::Result;
use kd_core::ops::{self, Reduction, SoftTargets};
use serde::{Deserialize, Serialize};

use super::{Loss, LossInput};

/// Eq. 3 of the paper, and with `alpha` = 1 its eq. 2; see [`ops::distillation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distill {
    /// Weight of the teacher's soft targets, in `[0, 1]`.
    pub alpha: f64,
    /// T > 0.
    pub temperature: f64,
    /// How the soft term is scaled and averaged: `li2018` for the code that the paper cites,
    /// `unscaled` for defensive distillation.
    #[serde(default)]
    pub reduction: Reduction,
}

impl Default for Distill {
    /// The paper's best cell for the 30-unit student.
    fn default() -> Self {
        Self { alpha: 0.5, temperature: 5.0, reduction: Reduction::BatchMean }
    }
}

impl Loss for Distill {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let soft = SoftTargets {
            teacher_logits: input.teacher()?,
            temperature: self.temperature,
            alpha: self.alpha,
            reduction: self.reduction,
        };
        ops::distillation(input.logits, Some(input.labels), &soft)
    }

    fn temperature(&self) -> Option<f64> {
        Some(self.temperature)
    }

    fn needs_labels(&self) -> bool {
        self.alpha < 1.0
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        ops::check_soft(self.temperature, self.alpha)
    }
}
