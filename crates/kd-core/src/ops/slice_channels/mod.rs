//! Some of the channels.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation};
use crate::ops::step::{Backward, Forward};
use crate::ops::strips::Strip;

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

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        let (start, end) = (self.first as i64, (self.first + self.count) as i64);
        vec![Operator::new("Slice").ints(&[start]).ints(&[end]).ints(&[1])]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        Ok(self.strip(x.n_channels()).read(x.values()).into())
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let strip = self.strip(step.input(0).n_channels());
        step.add(0, strip.among_zeros(&grad))
    }
}

impl SliceChannels {
    fn strip(&self, of: usize) -> Strip {
        Strip { of, first: self.first, count: self.count }
    }
}
