//! `clip(slope x + shift, 0, 1)`.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation, same_shape};

/// `clip(slope x + shift, 0, 1)`: with 1/6 and 1/2, as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardSigmoid {
    /// What x is multiplied by.
    pub slope: f32,
    /// What is added.
    pub shift: f32,
}

impl Default for HardSigmoid {
    fn default() -> Self {
        Self { slope: 1.0 / 6.0, shift: 0.5 }
    }
}

impl Operation for HardSigmoid {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }
}
