//! Channels of several activations, one after the other.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Act, Buffer, Made};
use crate::ops::channels::task_len;
use crate::ops::onnx::{Operand, Operator};
use crate::ops::operation::{Checked, Operation};
use crate::ops::step::{Backward, Forward};
use crate::ops::strips::Strip;
use crate::tasks::each;

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

    fn onnx(&self, inputs: &[&[usize]]) -> Vec<Operator> {
        let inputs = (0..inputs.len()).map(Operand::Input).collect();
        vec![Operator { inputs, ..Operator::new("Concat").with_int("axis", 1) }]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let strips = strips(step.inputs);
        let n_values = step.inputs.iter().map(|input| input.values().len()).sum();
        let mut out = Buffer::take(n_values);
        let of = strips.last().map_or(1, |last| last.of);
        each(out.chunks_mut(task_len(of)).enumerate(), |(i, out)| {
            for (strip, input) in strips.iter().zip(step.inputs) {
                let first = i * strip.task_len(strip.count);
                strip.write(&input.values()[first..], out);
            }
        });
        Ok(out.into())
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        for (i, strip) in strips(step.inputs).into_iter().enumerate() {
            if step.input(i).needs_grad() {
                step.add(i, strip.read(&grad))?;
            }
        }
        Ok(())
    }
}

/// Where each input's channels lie in the output.
fn strips(inputs: &[&Act]) -> Vec<Strip> {
    let of = inputs.iter().map(|input| input.n_channels()).sum();
    let mut first = 0;
    let strip = |input: &&Act| {
        let strip = Strip { of, first, count: input.n_channels() };
        first += strip.count;
        strip
    };
    inputs.iter().map(strip).collect()
}
