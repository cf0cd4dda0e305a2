//! Regression on a teacher's logits.

use candle_core::{D, Tensor};
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::rows::{check, student, teacher, with_labels};
use super::{Loss, LossInput};

/// `hard CE + soft mean_n 1/2 |s_n - t_n|^2`, with the logits s and t as they are (Ba and Caruana 2014,
/// arXiv:1312.6184, eq. 1). By default without labels, as there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Regression {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the distance.
    pub soft: f64,
}

impl Default for Regression {
    fn default() -> Self {
        Self { hard: 0.0, soft: 1.0 }
    }
}

impl Loss for Regression {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let distance = (student(input)? - teacher(input)?)?.sqr()?.sum(D::Minus1)?.mean_all()?;
        with_labels(input, self.hard, (distance * (0.5 * self.soft))?)
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
        check(&[("hard", self.hard), ("soft", self.soft)], &[])
    }
}
