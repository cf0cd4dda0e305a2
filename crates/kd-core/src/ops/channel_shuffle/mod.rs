//! Channels that change places, so that groups of channels meet.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, chw};
use crate::ops::step::{Backward, Forward};
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

    fn onnx(&self, inputs: &[&[usize]]) -> Vec<Operator> {
        let sides: Vec<i64> = inputs[0].iter().map(|side| *side as i64).collect();
        let (groups, [channels, height, width]) =
            (self.groups as i64, [sides[0], sides[1], sides[2]]);
        let transpose = Operator::after(0, "Transpose").with_sizes("perm", &[0, 2, 1, 3, 4]);
        vec![
            // A 0 keeps what is there: the batch.
            Operator::new("Reshape").ints(&[0, groups, channels / groups, height, width]),
            transpose,
            Operator::after(1, "Reshape").ints(&[0, channels, height, width]),
        ]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        Ok(transposed(x.values(), [self.groups, x.n_channels() / self.groups]).into())
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let n_in_group = step.input(0).n_channels() / self.groups;
        step.add(0, transposed(&grad, [n_in_group, self.groups]))
    }
}
