//! Plain labels: no teacher.

use candle_core::Tensor;
use kd_core::{Result, ops};
use serde::{Deserialize, Serialize};

use super::{Loss, LossInput};

/// `mean_i H(y_i, softmax(z_i))`: the baseline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {}

impl Loss for Labels {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        ops::cross_entropy(input.logits, input.labels, 0.0)
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }
}
