//! A function applied value by value, forward and backward.

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::channels::TASK;
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, same_shape};
use crate::ops::step::{Backward, Forward, Reads};
use crate::simd::vectorized;
use crate::tasks::each;

/// A function of one number. Its methods are inlined into loops that are vectorized, so they have
/// no branches.
pub(super) trait Function: Sync + Copy + 'static {
    /// Whether the derivative is told from the value.
    const READS_OUTPUT: bool = false;

    /// Refuses settings outside their domain.
    fn check(&self) -> Checked<()> {
        Ok(())
    }

    /// As [`Operation::onnx`].
    fn onnx(&self) -> Vec<Operator>;

    /// The function.
    fn value(&self, x: f32) -> f32;

    /// Its derivative: at `x`, or from the value `y` if it reads the output.
    fn slope(&self, x_or_y: f32) -> f32;
}

impl<F: Function> Operation for F {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        self.check()?;
        same_shape(inputs)
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        Function::onnx(self)
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0).values();
        let mut y = Buffer::take(x.len());
        each(y.chunks_mut(TASK).zip(x.chunks(TASK)), |(y, x)| {
            for (y, x) in y.chunks_mut(BLOCK).zip(x.chunks(BLOCK)) {
                y.copy_from_slice(x);
                self.map(y);
            }
        });
        Ok(y.into())
    }

    fn backward(&self, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let read = if F::READS_OUTPUT { step.output } else { step.input(0) };
        let tasks = grad.chunks_mut(TASK).zip(read.values().chunks(TASK));
        each(tasks, |(grad, read)| {
            vectorized(
                #[inline(always)]
                || {
                    let f = *self;
                    for (g, x_or_y) in grad.iter_mut().zip(read) {
                        *g *= f.slope(*x_or_y);
                    }
                },
            );
        });
        step.add(0, grad)
    }

    fn reads(&self) -> Reads {
        Reads { inputs: !F::READS_OUTPUT, output: F::READS_OUTPUT }
    }

    fn map(&self, values: &mut [f32]) -> bool {
        vectorized(
            #[inline(always)]
            || {
                // A copy: settings in memory could be changed by the loop, for all the compiler knows.
                let f = *self;
                for value in values {
                    *value = f.value(*value);
                }
            },
        );
        true
    }
}

/// Values that are in the first-level cache with what is computed from them.
const BLOCK: usize = 1 << 12;
