//! `x clip(x + 3, 0, 6) / 6` (Howard et al. 2019), as in PyTorch.

use serde::{Deserialize, Serialize};

use super::map::{self, Function};
use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, same_shape};
use crate::ops::step::{Backward, Forward};

/// `x clip(x + 3, 0, 6) / 6` (Howard et al. 2019), as in PyTorch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardSwish {}

impl Operation for HardSwish {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![Operator::new("HardSwish")]
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

impl Function for HardSwish {
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
