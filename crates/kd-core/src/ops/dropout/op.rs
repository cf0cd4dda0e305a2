//! Dropout as an operation of a network.

use serde::{Deserialize, Serialize};

use super::cpu::Mask;
use crate::act::{Act, Buffer, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation};
use crate::ops::step::{Backward, Forward};
use crate::{Mode, Result, Stream};

/// Inverted dropout: in training each value is kept with probability `1 - p` and then divided by it;
/// in evaluation nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability with which a value is dropped, in `[0, 1)`.
    pub p: f32,
    /// Number of its random stream within a step: another one for each dropout of a network. Nothing
    /// is the step's own stream, for a network's only dropout.
    pub stream: Option<u64>,
}

impl Default for Dropout {
    fn default() -> Self {
        Self { p: 0.5, stream: None }
    }
}

impl Operation for Dropout {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        if (0.0..1.0).contains(&self.p) {
            return Ok(inputs[0].to_vec());
        }
        Err(format!("p is {}, not in [0, 1)", self.p))
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        Vec::new()
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let mut values = Buffer::copy_of(step.input(0).values());
        self.drop_out(step.mode, first_value(step.first_row, step.input(0)), &mut values);
        Ok(values.into())
    }

    /// The mask is drawn again.
    fn backward(&self, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        self.drop_out(step.mode, first_value(step.first_row, step.input(0)), &mut grad);
        step.add(0, grad)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Option<&dyn crate::ops::step::OnGpu> {
        Some(self)
    }
}

impl Dropout {
    fn drop_out(&self, mode: Mode, first: usize, values: &mut [f32]) {
        if let Mode::Train(stream) = mode {
            self.mask(stream).apply(first, values);
        }
    }

    pub(super) fn mask(&self, stream: Stream) -> Mask {
        Mask::new(self.p, self.stream_of(stream))
    }

    /// Where the mask comes from in a step whose stream is `step`.
    pub(crate) fn stream_of(&self, step: Stream) -> Stream {
        self.stream.map_or(step, |number| step.number(number))
    }
}

/// Where the values of `x` begin in the batch whose row `first_row` is its first.
fn first_value(first_row: usize, x: &Act) -> usize {
    first_row * x.dims()[1..].iter().product::<usize>()
}
