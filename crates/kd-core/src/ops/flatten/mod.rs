//! From a map of features to a vector.

#[cfg(feature = "cuda")]
mod cuda;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::act::{Act, Buffer, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation};
use crate::ops::step::{Backward, Forward};
use crate::ops::transpose::transposed;

/// `[C, H, W]` -> `[C H W]`, in PyTorch's order: channel by channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl Operation for Flatten {
    fn shape(&self, inputs: &[&[usize]]) -> Checked<Vec<usize>> {
        Ok(vec![inputs[0].iter().product()])
    }

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        vec![Operator::new("Flatten").with_int("axis", 1)]
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        let [n_pixels, n_channels] = image(x);
        Ok(transposed(x.values(), [n_pixels, n_channels]).into())
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let [n_pixels, n_channels] = image(step.input(0));
        if n_pixels == 1 || n_channels == 1 {
            return step.add(0, grad);
        }
        step.add(0, transposed(&grad, [n_channels, n_pixels]))
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Option<&dyn crate::ops::step::OnGpu> {
        Some(self)
    }
}

/// Pixels of an image, and channels of a pixel.
fn image(x: &Act) -> [usize; 2] {
    let dims = x.dims();
    let n_pixels = dims[1..dims.len() - 1].iter().product();
    [n_pixels, x.n_channels()]
}
