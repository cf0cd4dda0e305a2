//! The sum of two activations.

use serde::{Deserialize, Serialize};

use crate::ops::onnx::{Operand, Operator};
use crate::ops::operation::{Checked, Operation, same_shape};

/// `x + y`, value by value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

impl Operation for Add {
    fn n_inputs(&self) -> (usize, usize) {
        (2, 2)
    }

    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![Operator::new("Add").and(Operand::Input(1))]
    }
}
