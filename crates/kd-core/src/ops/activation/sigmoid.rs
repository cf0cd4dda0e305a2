//! `1 / (1 + exp(-x))`.

use serde::{Deserialize, Serialize};

use super::map::Function;
use crate::math;
use crate::ops::onnx::Operator;

/// `1 / (1 + exp(-x))`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sigmoid {}

impl Function for Sigmoid {
    const READS_OUTPUT: bool = true;

    fn onnx(&self) -> Vec<Operator> {
        vec![Operator::new("Sigmoid")]
    }

    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        math::sigmoid(x)
    }

    #[inline(always)]
    fn slope(&self, y: f32) -> f32 {
        y * (1.0 - y)
    }
}
