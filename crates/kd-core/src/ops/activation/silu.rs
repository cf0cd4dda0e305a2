//! `x / (1 + exp(-x))`.

use serde::{Deserialize, Serialize};

use super::map::{self, Function};
use crate::Result;
use crate::act::{Buffer, Made};
use crate::math;
use crate::ops::onnx::{Operand, Operator};
use crate::ops::operation::{Checked, Operation, same_shape};
use crate::ops::step::{Backward, Forward};

/// `x / (1 + exp(-x))`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silu {}

impl Operation for Silu {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![Operator::new("Sigmoid"), Operator::new("Mul").and(Operand::Made(0))]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        Ok(map::forward(self, step))
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        map::backward(self, grad, step)
    }

    fn map(&self, values: &mut [f32]) -> bool {
        map::in_place(self, values)
    }
}

impl Function for Silu {
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
