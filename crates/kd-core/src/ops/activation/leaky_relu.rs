//! `x` where it is positive, `slope x` elsewhere.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation, same_shape};

/// `x` where it is positive, `slope x` elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakyRelu {
    /// The slope of the negative part.
    pub slope: f32,
}

impl Default for LeakyRelu {
    fn default() -> Self {
        Self { slope: 0.01 }
    }
}

impl Operation for LeakyRelu {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }
}
