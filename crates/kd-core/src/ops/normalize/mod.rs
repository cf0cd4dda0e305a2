//! From pixels in [0, 1] to what a network was trained on.

#[cfg(feature = "cuda")]
mod cuda;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::channels::{task_len, widened};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, chw};
use crate::ops::step::{Backward, Forward, Reads};
use crate::simd::vectorized;

/// `(x - mean) / std`, one of each for every channel, in units of `[0, 1]` pixels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// One mean per channel.
    pub mean: Vec<f32>,
    /// One standard deviation per channel, above 0.
    pub std: Vec<f32>,
}

impl Operation for Normalize {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        let [channels, ..] = chw(inputs[0])?;
        if self.mean.len() != channels || self.std.len() != channels {
            return Err(format!("needs one mean and one std for each of {channels} channels"));
        }
        let good = |(mean, std): (&f32, &f32)| mean.is_finite() && *std > 0.0 && std.is_finite();
        if !self.mean.iter().zip(&self.std).all(good) {
            return Err("mean must be finite, and std finite and above 0".into());
        }
        Ok(inputs[0].to_vec())
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        let centered = Operator::new("Sub").per_channel(&self.mean);
        vec![centered, Operator::after(0, "Div").per_channel(&self.std)]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0).values();
        let (mean, std) = (widened(&self.mean), widened(&self.std));
        let mut y = Buffer::take(x.len());
        let len = task_len(self.mean.len());
        y.par_chunks_mut(len).zip(x.par_chunks(len)).for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || normalize(x, (&mean, &std), y),
            );
        });
        Ok(y.into())
    }

    fn backward(&self, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let std = widened(&self.std);
        grad.par_chunks_mut(task_len(self.std.len())).for_each(|grad| {
            vectorized(
                #[inline(always)]
                || {
                    for grad in grad.chunks_mut(std.len()) {
                        for (g, std) in grad.iter_mut().zip(&std) {
                            *g /= std;
                        }
                    }
                },
            );
        });
        step.add(0, grad)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Option<&dyn crate::ops::step::OnGpu> {
        Some(self)
    }

    fn reads(&self) -> Reads {
        Reads { inputs: false, output: false }
    }
}

/// A division, not a product with the inverse: as the loaders of images compute it, to the bit.
#[inline(always)]
fn normalize(x: &[f32], (mean, std): (&[f32], &[f32]), y: &mut [f32]) {
    for (y, x) in y.chunks_mut(std.len()).zip(x.chunks(std.len())) {
        for ((y, x), (mean, std)) in y.iter_mut().zip(x).zip(mean.iter().zip(std)) {
            *y = (x - mean) / std;
        }
    }
}
