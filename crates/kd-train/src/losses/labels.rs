//! Plain labels: no teacher.

use candle_core::Tensor;
use kd_core::{Result, ops};
use serde::{Deserialize, Serialize};

use super::{Loss, LossInput};

/// `mean_i H(y_i, softmax(z_i / T))`: with T = 1 the baseline, with another T the teacher of
/// defensive distillation (Papernot et al. 2016); see [`ops::cross_entropy_at`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Labels {
    /// T > 0.
    pub temperature: f64,
}

impl Default for Labels {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Loss for Labels {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        ops::cross_entropy_at(input.logits, input.labels, self.temperature)
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        ops::check_temperature(self.temperature)
    }
}
