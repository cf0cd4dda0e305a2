//! A function applied value by value, forward and backward.

use rayon::prelude::*;

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::channels::TASK;
use crate::ops::operation::Operation;
use crate::ops::step::{Backward, Forward};
use crate::simd::vectorized;

/// A function of one number. Its methods are inlined into loops that are vectorized, so they have
/// no branches.
pub(super) trait Function: Operation + Sync + Copy {
    /// The function.
    fn value(&self, x: f32) -> f32;

    /// Its derivative: at `x`, or from the value `y` where [`Operation::reads`] asks for the output.
    fn slope(&self, x_or_y: f32) -> f32;
}

/// Values that are in the first-level cache with what is computed from them.
const BLOCK: usize = 1 << 12;

/// [`Operation::forward`] of a function.
pub(super) fn forward(f: &impl Function, step: &Forward<'_>) -> Made {
    let x = step.input(0).values();
    let mut y = Buffer::take(x.len());
    y.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(y, x)| {
        for (y, x) in y.chunks_mut(BLOCK).zip(x.chunks(BLOCK)) {
            y.copy_from_slice(x);
            in_place(f, y);
        }
    });
    y.into()
}

/// [`Operation::map`] of a function.
pub(super) fn in_place(f: &impl Function, values: &mut [f32]) -> bool {
    vectorized(
        #[inline(always)]
        || {
            // A copy: settings in memory could be changed by the loop, for all the compiler knows.
            let f = *f;
            for value in values {
                *value = f.value(*value);
            }
        },
    );
    true
}

/// [`Operation::backward`] of a function.
pub(super) fn backward(f: &impl Function, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
    let read = if f.reads().output { step.output } else { step.input(0) };
    let tasks = grad.par_chunks_mut(TASK).zip(read.values().par_chunks(TASK));
    tasks.for_each(|(grad, read)| {
        vectorized(
            #[inline(always)]
            || {
                let f = *f;
                for (g, x_or_y) in grad.iter_mut().zip(read) {
                    *g *= f.slope(*x_or_y);
                }
            },
        );
    });
    step.add(0, grad)
}
