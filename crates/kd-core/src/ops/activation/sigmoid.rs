//! `1 / (1 + exp(-x))`.

use serde::{Deserialize, Serialize};

use super::map::{self, Function};
use crate::Result;
use crate::act::{Buffer, Made};
use crate::math;
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, same_shape};
use crate::ops::step::{Backward, Forward, Reads};

/// `1 / (1 + exp(-x))`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sigmoid {}

impl Operation for Sigmoid {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![Operator::new("Sigmoid")]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        Ok(map::forward(self, step))
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        map::backward(self, grad, step)
    }

    fn reads(&self) -> Reads {
        Reads { inputs: false, output: true }
    }

    fn map(&self, values: &mut [f32]) -> bool {
        map::in_place(self, values)
    }
}

impl Function for Sigmoid {
    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        math::sigmoid(x)
    }

    #[inline(always)]
    fn slope(&self, y: f32) -> f32 {
        y * (1.0 - y)
    }
}
