//! The shortcut without parameters of He et al. 2016 (option A).

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation, chw};

/// Every `stride`-th pixel, with `n_zeros` zero channels before and after: `x[:, ::s, ::s]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubsamplePad {
    /// Pixels from one that is kept to the next.
    pub stride: usize,
    /// Channels of zeros on each side.
    pub n_zeros: usize,
}

impl Default for SubsamplePad {
    fn default() -> Self {
        Self { stride: 2, n_zeros: 8 }
    }
}

impl Operation for SubsamplePad {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        let [channels, height, width] = chw(inputs[0])?;
        if self.stride == 0 {
            return Err("stride must be at least 1".into());
        }
        let n_zeros = self.n_zeros.checked_mul(2).ok_or("too many channels")?;
        let sides = [height, width].map(|side| side.div_ceil(self.stride));
        Ok(vec![channels + n_zeros, sides[0], sides[1]])
    }
}
