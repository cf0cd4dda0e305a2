//! `x` where it is positive, `slope x` elsewhere.

use serde::{Deserialize, Serialize};

use super::map::{self, Function};
use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, same_shape};
use crate::ops::step::{Backward, Forward};

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

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![Operator::new("LeakyRelu").with_float("alpha", self.slope)]
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

impl Function for LeakyRelu {
    #[inline(always)]
    fn value(&self, x: f32) -> f32 {
        if x > 0.0 { x } else { self.slope * x }
    }

    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        if x > 0.0 { 1.0 } else { self.slope }
    }
}
