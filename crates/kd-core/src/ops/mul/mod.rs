//! The product of two activations, or of one and a factor for each channel.

mod cpu;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::onnx::{Operand, Operator};
use crate::ops::operation::{Checked, Operation};
use crate::ops::step::{Backward, Forward, Reads};

/// `x y`, value by value; with `y` of shape `[C, 1, 1]` or `[C]`, one factor for each channel of
/// `x`, as in squeeze-and-excitation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mul {}

impl Operation for Mul {
    fn n_inputs(&self) -> (usize, usize) {
        (2, 2)
    }

    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        let (x, y) = (inputs[0], inputs[1]);
        let per_channel = x.len() == 3 && (y == [x[0], 1, 1] || y == [x[0]]);
        if x == y || per_channel {
            return Ok(x.to_vec());
        }
        Err(format!("the factors {y:?} fit {x:?} neither value by value nor by channel"))
    }

    fn onnx(&self, inputs: &[&[usize]]) -> Vec<Operator> {
        if inputs[0].len() == inputs[1].len() {
            return vec![Operator::new("Mul").and(Operand::Input(1))];
        }
        // One factor for each channel, as an image of one pixel.
        let factors = Operator { inputs: vec![Operand::Input(1)], ..Operator::new("Reshape") };
        vec![factors.ints(&[0, -1, 1, 1]), Operator::new("Mul").and(Operand::Made(0))]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let (x, y) = (step.input(0), step.input(1));
        if x.values().len() == y.values().len() {
            return Ok(cpu::product(x.values(), y.values()).into());
        }
        Ok(cpu::scaled(x.values(), y.values(), x.n_channels()).into())
    }

    fn backward(&self, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let (x, y) = (step.input(0), step.input(1));
        if x.values().len() == y.values().len() {
            if y.needs_grad() {
                step.add(1, cpu::product(&grad, x.values()))?;
            }
            cpu::multiply(&mut grad, y.values());
            return step.add(0, grad);
        }
        let to_y = cpu::scaled_backward(&mut grad, x.values(), y.values(), x.n_channels());
        step.add(1, to_y)?;
        step.add(0, grad)
    }

    fn reads(&self) -> Reads {
        Reads { inputs: true, output: false }
    }
}
