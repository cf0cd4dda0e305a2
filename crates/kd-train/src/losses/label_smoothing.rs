//! Label smoothing: the control that a teacher must beat.

use candle_core::Tensor;
use kd_core::{Result, below_one, ops};
use serde::{Deserialize, Serialize};

use super::{Loss, LossInput};

/// `mean_i H((1 - s) onehot(y_i) + s / K, softmax(z_i))` (Szegedy et al. 2016): the targets of a
/// teacher that finds all wrong classes equally likely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelSmoothing {
    /// s, in `[0, 1)`.
    pub smoothing: f64,
}

impl Default for LabelSmoothing {
    fn default() -> Self {
        Self { smoothing: 0.1 }
    }
}

impl Loss for LabelSmoothing {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        ops::cross_entropy(input.logits, input.labels, self.smoothing)
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        below_one("smoothing", self.smoothing)
    }
}
