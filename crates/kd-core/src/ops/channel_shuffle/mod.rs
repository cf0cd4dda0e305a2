//! Channels that change places, so that groups of channels meet.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation, chw};

/// The channels as a matrix of `groups` rows, transposed (Zhang et al. 2018, ShuffleNet):
/// `y[i groups + g] = x[g C/groups + i]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelShuffle {
    /// Number of groups.
    pub groups: usize,
}

impl Default for ChannelShuffle {
    fn default() -> Self {
        Self { groups: 2 }
    }
}

impl Operation for ChannelShuffle {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        let [channels, ..] = chw(inputs[0])?;
        if self.groups == 0 || !channels.is_multiple_of(self.groups) {
            return Err(format!("{channels} channels do not fall into {} groups", self.groups));
        }
        Ok(inputs[0].to_vec())
    }
}
