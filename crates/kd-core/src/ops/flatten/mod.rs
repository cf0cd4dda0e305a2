//! From a map of features to a vector.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation};

/// `[C, H, W]` -> `[C H W]`, in PyTorch's order: channel by channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl Operation for Flatten {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        Ok(vec![inputs[0].iter().product()])
    }
}
