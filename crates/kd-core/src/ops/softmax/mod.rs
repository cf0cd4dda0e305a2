//! Probabilities of classes.

mod cpu;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation};
use crate::ops::step::{Backward, Forward, Reads};

/// `softmax(x / temperature)` of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// T > 0.
    pub temperature: f32,
}

impl Default for Softmax {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Operation for Softmax {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        match inputs[0] {
            [_] if self.temperature > 0.0 && self.temperature.is_finite() => Ok(inputs[0].to_vec()),
            [_] => Err(format!("temperature {} is not above 0", self.temperature)),
            other => Err(format!("needs a vector, got {other:?}")),
        }
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        let softmax = |operator: Operator| operator.with_int("axis", -1);
        if (self.temperature - 1.0).abs() == 0.0 {
            return vec![softmax(Operator::new("Softmax"))];
        }
        let scaled = Operator::new("Div").number(self.temperature);
        vec![scaled, softmax(Operator::after(0, "Softmax"))]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        Ok(cpu::softmax(x.values(), x.n_channels(), 1.0 / self.temperature).into())
    }

    fn backward(&self, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let y = step.output;
        cpu::backward(&mut grad, y.values(), y.n_channels(), 1.0 / self.temperature);
        step.add(0, grad)
    }

    fn reads(&self) -> Reads {
        Reads { inputs: false, output: true }
    }
}
