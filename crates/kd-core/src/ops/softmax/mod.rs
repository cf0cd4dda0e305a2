//! Probabilities of classes.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation};

/// `softmax(x / temperature)` of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// T > 0.
    pub temperature: f32,
}

impl Default for Softmax {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Operation for Softmax {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        match inputs[0] {
            [_] if self.temperature > 0.0 && self.temperature.is_finite() => Ok(inputs[0].to_vec()),
            [_] => Err(format!("temperature {} is not above 0", self.temperature)),
            other => Err(format!("needs a vector, got {other:?}")),
        }
    }
}
