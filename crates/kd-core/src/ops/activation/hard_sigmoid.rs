//! `clip(slope x + shift, 0, 1)`.

use serde::{Deserialize, Serialize};

use super::map::Function;
use crate::ops::onnx::Operator;

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

impl Function for HardSigmoid {
    fn onnx(&self) -> Vec<Operator> {
        let operator = Operator::new("HardSigmoid");
        vec![operator.with_float("alpha", self.slope).with_float("beta", self.shift)]
    }

    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        let y = self.slope * x + self.shift;
        // In this order of the comparison NaN stays NaN.
        let y = if y < 0.0 { 0.0 } else { y };
        if y > 1.0 { 1.0 } else { y }
    }

    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        let y = self.slope * x + self.shift;
        if (y > 0.0) & (y < 1.0) { self.slope } else { 0.0 }
    }
}
