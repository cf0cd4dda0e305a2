//! From pixels in [0, 1] to what a network was trained on.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation, chw};

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
}
