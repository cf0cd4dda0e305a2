//! `min(max(x, low), high)`: with 0 and 6, ReLU6.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation, same_shape};

/// `min(max(x, low), high)`, with derivative 0 at and beyond both ends, as `hardtanh` in PyTorch:
/// with 0 and 6, ReLU6.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// The least value.
    pub low: f32,
    /// The greatest value.
    pub high: f32,
}

impl Default for Clip {
    /// ReLU6.
    fn default() -> Self {
        Self { low: 0.0, high: 6.0 }
    }
}

impl Operation for Clip {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }
}
