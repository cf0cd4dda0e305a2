//! Any objective on standardized logits.

use candle_core::{D, DType, Tensor};
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::rows::{check, deviation, student, teacher, with_labels};
use super::{Distill, Loss, LossInput, LossSpec};

/// What is added to a deviation.
const EPS: f64 = 1e-7;

/// `hard CE + soft L(Z(s), Z(t))`, with `Z(z) = (z - mean(z)) / (1e-7 + std(z))` of each row, the deviation
/// unbiased, and L any objective on logits (Sun et al. 2024, arXiv:2403.01427). Labels count through
/// `hard`, on the logits as they are: what L itself has of them should weigh nothing there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Standardized {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the objective.
    pub soft: f64,
    /// The objective.
    pub of: Box<LossSpec>,
}

impl Default for Standardized {
    /// Soft targets at T = 2, nine times; labels a tenth.
    fn default() -> Self {
        let of = Distill { alpha: 1.0, temperature: 2.0, ..Distill::default() };
        Self { hard: 0.1, soft: 9.0, of: Box::new(of.into()) }
    }
}

impl Loss for Standardized {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let (own, theirs) = (standardized(&student(input)?)?, standardized(&teacher(input)?)?);
        let inner = LossInput { logits: &own, teacher_logits: Some(&theirs), ..*input };
        with_labels(input, self.hard, (self.of.loss(&inner)? * self.soft)?)
    }

    fn temperature(&self) -> Option<f64> {
        self.of.temperature()
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0 || self.of.needs_labels()
    }

    fn is_per_image(&self) -> bool {
        self.of.is_per_image()
    }

    fn check(&self) -> Result<()> {
        if !self.of.needs_teacher() || !self.of.taps().is_empty() {
            let reason =
                format!("`{}` is no objective on a teacher's logits alone", self.of.name());
            return Err(Error::config("of", reason));
        }
        self.of.check()?;
        check(&[("hard", self.hard), ("soft", self.soft)], &[])
    }
}

fn standardized(logits: &Tensor) -> Result<Tensor> {
    let centered = logits.broadcast_sub(&logits.mean_keepdim(D::Minus1)?)?;
    Ok(centered.broadcast_div(&(deviation(logits)? + EPS)?)?.to_dtype(DType::F32)?)
}
