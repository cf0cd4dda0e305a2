//! `min(max(x, low), high)`: with 0 and 6, ReLU6.

use serde::{Deserialize, Serialize};

use super::clamped;
use crate::Result;
use crate::act::{Buffer, Clamp, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, same_shape};
use crate::ops::step::{Backward, Forward};

/// `min(max(x, low), high)`, with derivative 0 at and beyond both ends, as `hardtanh` in PyTorch:
/// with 0 and 6, ReLU6.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// The least value.
    pub low: f32,
    /// The greatest value.
    pub high: f32,
}

impl Default for Clip {
    /// ReLU6.
    fn default() -> Self {
        Self { low: 0.0, high: 6.0 }
    }
}

impl Operation for Clip {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![Operator::new("Clip").number(self.low).number(self.high)]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        Ok(clamped(step, Clamp { low: self.low, high: self.high }))
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        step.add(0, grad)
    }

    fn clamp(&self) -> Option<Clamp> {
        Some(Clamp { low: self.low, high: self.high })
    }
}
