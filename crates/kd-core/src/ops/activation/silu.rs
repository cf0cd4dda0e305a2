//! `x / (1 + exp(-x))`.

use serde::{Deserialize, Serialize};

use super::map::Function;
use crate::math;
use crate::ops::onnx::{Operand, Operator};

/// `x / (1 + exp(-x))`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silu {}

impl Function for Silu {
    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("Sigmoid"), Operator::new("Mul").and(Operand::Made(0))]
    }

    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        x * math::sigmoid(x)
    }

    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        let s = math::sigmoid(x);
        s * (1.0 + x * (1.0 - s))
    }
}
