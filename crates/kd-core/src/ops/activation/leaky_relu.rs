//! `x` where it is positive, `slope x` elsewhere.

use serde::{Deserialize, Serialize};

use super::map::Function;
use crate::ops::onnx::Operator;

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

impl Function for LeakyRelu {
    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("LeakyRelu").with_float("alpha", self.slope)]
    }

    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        if x > 0.0 { x } else { self.slope * x }
    }

    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        if x > 0.0 { 1.0 } else { self.slope }
    }
}
