//! Some of the channels.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation};

/// The channels `first..first + count` (the values, for vectors).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceChannels {
    /// The first channel.
    pub first: usize,
    /// How many.
    pub count: usize,
}

impl Default for SliceChannels {
    fn default() -> Self {
        Self { first: 0, count: 1 }
    }
}

impl Operation for SliceChannels {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        let mut shape = inputs[0].to_vec();
        match self.first.checked_add(self.count) {
            Some(end) if self.count > 0 && end <= shape[0] => {
                shape[0] = self.count;
                Ok(shape)
            }
            _ => Err(format!("{self:?} is not within {} channels", shape[0])),
        }
    }
}
