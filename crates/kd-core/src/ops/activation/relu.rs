//! `max(0, x)`, with derivative 0 at 0, as in PyTorch (candle has 1 there).

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation, same_shape};

/// `max(0, x)`, with derivative 0 at 0, as in PyTorch (candle has 1 there).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relu {}

impl Operation for Relu {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }
}
