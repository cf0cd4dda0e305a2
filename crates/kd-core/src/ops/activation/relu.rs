//! `max(0, x)`, with derivative 0 at 0, as in PyTorch (candle has 1 there).

use serde::{Deserialize, Serialize};

use super::clamped;
use crate::Result;
use crate::act::{Buffer, Clamp, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, same_shape};
use crate::ops::step::{Backward, Forward};

/// `max(0, x)`, with derivative 0 at 0, as in PyTorch (candle has 1 there).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu {}

impl Operation for Relu {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![Operator::new("Relu")]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        Ok(clamped(step, Clamp::RELU))
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        step.add(0, grad)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Option<&dyn crate::ops::step::OnGpu> {
        Some(self)
    }

    fn clamp(&self) -> Option<Clamp> {
        Some(Clamp::RELU)
    }
}
