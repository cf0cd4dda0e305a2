//! From pixels in [0, 1] to what a network was trained on.

#[cfg(feature = "cuda")]
mod cuda;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Buffer, Made};
use crate::ops::channels::{task_len, widened};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, chw};
use crate::ops::step::{Backward, Forward};
use crate::simd::vectorized;
use crate::tasks::each;

/// `(x - mean) / std`, one of each for every channel, in units of `[0, 1]` pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// One mean per channel.
    pub mean: Vec<f32>,
    /// One standard deviation per channel, above 0.
    pub std: Vec<f32>,
}

impl Default for Normalize {
    /// Gray images as they are.
    fn default() -> Self {
        Self { mean: vec![0.0], std: vec![1.0] }
    }
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
        let mut y = Buffer::copy_of(step.input(0).values());
        self.in_place(&mut y);
        Ok(y.into())
    }

    fn backward(&self, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        self.gradient(&mut grad);
        step.add(0, grad)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Option<&dyn crate::ops::step::OnGpu> {
        Some(self)
    }
}

impl Normalize {
    /// `x = (x - mean) / std`. A division, not a product with the inverse: as the loaders of images
    /// compute it, to the bit.
    pub(crate) fn in_place(&self, values: &mut [f32]) {
        self.each(values, |x, mean, std| (x - mean) / std);
    }

    /// From the gradient of the output to that of the input, in place: `g = g / std`.
    pub(crate) fn gradient(&self, grad: &mut [f32]) {
        self.each(grad, |g, _, std| g / std);
    }

    /// Applies `f` to each value with the mean and the standard deviation of its channel.
    fn each(&self, values: &mut [f32], f: impl Fn(f32, f32, f32) -> f32 + Sync) {
        let (mean, std) = (widened(&self.mean), widened(&self.std));
        each(values.chunks_mut(task_len(self.std.len())), |values| {
            vectorized(
                #[inline(always)]
                || {
                    for values in values.chunks_mut(std.len()) {
                        for (x, (mean, std)) in values.iter_mut().zip(mean.iter().zip(&std)) {
                            *x = f(*x, *mean, *std);
                        }
                    }
                },
            );
        });
    }
}
