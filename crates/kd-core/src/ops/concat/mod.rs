//! Channels of several activations, one after the other.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation};

/// The channels of all inputs in their order (the values, for vectors).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concat {}

impl Operation for Concat {
    fn n_inputs(&self) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        let mut shape = inputs[0].to_vec();
        for other in &inputs[1..] {
            if other.len() != shape.len() || other[1..] != shape[1..] {
                return Err(format!("{other:?} does not lie beside {:?}", inputs[0]));
            }
            shape[0] = shape[0].checked_add(other[0]).ok_or("too many channels")?;
        }
        Ok(shape)
    }
}
