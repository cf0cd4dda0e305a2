//! Dropout as an operation of a network.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation};

/// Inverted dropout: in training each value is kept with probability `1 - p` and then divided by it;
/// in evaluation nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability with which a value is dropped, in `[0, 1)`.
    pub p: f32,
    /// Number of its random stream within a step: another one for each dropout of a network.
    pub stream: u64,
}

impl Default for Dropout {
    fn default() -> Self {
        Self { p: 0.5, stream: 0 }
    }
}

impl Operation for Dropout {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        if (0.0..1.0).contains(&self.p) {
            return Ok(inputs[0].to_vec());
        }
        Err(format!("p is {}, not in [0, 1)", self.p))
    }
}
