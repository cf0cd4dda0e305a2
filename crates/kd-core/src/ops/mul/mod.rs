//! The product of two activations, or of one and a factor for each channel.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation};

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
}
