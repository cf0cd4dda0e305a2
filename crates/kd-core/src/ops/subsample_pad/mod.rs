//! The shortcut without parameters of He et al. 2016 (option A).

#[cfg(feature = "cuda")]
mod cuda;

use serde::{Deserialize, Serialize};

use crate::act::{Act, Buffer, Made};
use crate::ops::onnx::Operator;
use crate::ops::operation::{Checked, Operation, chw};
use crate::ops::step::{Backward, Forward};
use crate::tasks::each;
use crate::{Error, Result};

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

    fn onnx(&self, _: &[&[usize]]) -> Vec<Operator> {
        let (stride, zeros) = (self.stride as i64, self.n_zeros as i64);
        let slice = Operator::new("Slice").ints(&[0, 0]).ints(&[i64::MAX; 2]).ints(&[2, 3]);
        let pads = [0, zeros, 0, 0, 0, zeros, 0, 0];
        match (stride > 1, zeros > 0) {
            (true, true) => vec![slice.ints(&[stride; 2]), Operator::after(0, "Pad").ints(&pads)],
            (true, false) => vec![slice.ints(&[stride; 2])],
            (false, true) => vec![Operator::new("Pad").ints(&pads)],
            (false, false) => Vec::new(),
        }
    }

    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        let &[n, height, width, channels] = x.dims() else { return Err(not_images(x)) };
        let n_out = channels + 2 * self.n_zeros;
        let [out_height, out_width] = [height, width].map(|side| side.div_ceil(self.stride));
        let mut y = Buffer::take(n * out_height * out_width * n_out);
        let x = x.values();
        each(y.chunks_mut(out_width * n_out).enumerate(), |(row, to)| {
            let from_row = row / out_height * height + row % out_height * self.stride;
            let pixels = x[from_row * width * channels..].chunks_exact(channels);
            to.fill(0.0);
            for (to, from) in to.chunks_exact_mut(n_out).zip(pixels.step_by(self.stride)) {
                to[self.n_zeros..][..channels].copy_from_slice(from);
            }
        });
        Ok(y.into())
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let x = step.input(0);
        let &[n, height, width, channels] = x.dims() else { return Err(not_images(x)) };
        let n_out = channels + 2 * self.n_zeros;
        let [out_height, out_width] = [height, width].map(|side| side.div_ceil(self.stride));
        let mut to_x = Buffer::take(n * height * width * channels);
        each(to_x.chunks_mut(width * channels).enumerate(), |(row, to)| {
            to.fill(0.0);
            let (image, row) = (row / height, row % height);
            if row.is_multiple_of(self.stride) {
                let from_row = image * out_height + row / self.stride;
                let pixels = grad[from_row * out_width * n_out..].chunks_exact(n_out);
                for (to, from) in to.chunks_exact_mut(channels).step_by(self.stride).zip(pixels) {
                    to.copy_from_slice(&from[self.n_zeros..][..channels]);
                }
            }
        });
        step.add(0, to_x)
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Option<&dyn crate::ops::step::OnGpu> {
        Some(self)
    }
}

fn not_images(x: &Act) -> Error {
    Error::shape("x", "(N, H, W, C)", x.dims())
}
