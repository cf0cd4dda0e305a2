//! `x clip(x + 3, 0, 6) / 6` (Howard et al. 2019), as in PyTorch.

use serde::{Deserialize, Serialize};

use super::map::Function;
use crate::ops::onnx::Operator;

/// `x clip(x + 3, 0, 6) / 6` (Howard et al. 2019), as in PyTorch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardSwish {}

impl Function for HardSwish {
    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("HardSwish")]
    }

    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        x * (x + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0)
    }

    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        let between = x * (1.0 / 3.0) + 0.5;
        let above = if x < 3.0 { between } else { 1.0 };
        if x > -3.0 { above } else { 0.0 }
    }
}
