//! `x clip(x + 3, 0, 6) / 6` (Howard et al. 2019), as in PyTorch.

use serde::{Deserialize, Serialize};

use crate::ops::operation::{Checked, Operation, same_shape};

/// `x clip(x + 3, 0, 6) / 6` (Howard et al. 2019), as in PyTorch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardSwish {}

impl Operation for HardSwish {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        same_shape(inputs)
    }
}
