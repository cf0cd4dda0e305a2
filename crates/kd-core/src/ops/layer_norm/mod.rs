//! Layer norm over the channels of each pixel.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Init, Operation, ParamSpec};

/// `y = weight (x - mean) / sqrt(variance + eps) + bias`, with mean and (biased) variance over the
/// channels of each pixel (Ba et al. 2016), as PyTorch's `LayerNorm` over the last axis of NHWC.
/// Parameters: `weight` and `bias`, `(C,)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f32,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self { eps: 1e-5 }
    }
}

impl Operation for LayerNorm {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        if self.eps >= 0.0 { Ok(inputs[0].to_vec()) } else { Err("eps must not be below 0".into()) }
    }

    fn params(&self, inputs: &[&[usize]]) -> Vec<ParamSpec> {
        let shape = [inputs[0][0]];
        vec![
            ParamSpec::trained("weight", &shape, Init::Ones),
            ParamSpec::trained("bias", &shape, Init::Zeros),
        ]
    }
}
