//! `x Phi(x)` with the normal distribution function (Hendrycks, Gimpel 2016), by `erf`.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation, same_shape};

/// `x Phi(x)` with the normal distribution function (Hendrycks, Gimpel 2016), by `erf`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gelu {}

impl Operation for Gelu {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }
}
