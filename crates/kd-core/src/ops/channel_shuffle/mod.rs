//! Channels that change places, so that groups of channels meet.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::operation::{Checked, Operation, chw};
use crate::ops::step::{Backward, Forward, Reads};
use crate::ops::transpose::transposed;

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

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        Ok(transposed(x.values(), [self.groups, x.n_channels() / self.groups]).into())
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let n_in_group = step.input(0).n_channels() / self.groups;
        step.add(0, transposed(&grad, [n_in_group, self.groups]))
    }

    fn reads(&self) -> Reads {
        Reads { inputs: false, output: false }
    }
}
