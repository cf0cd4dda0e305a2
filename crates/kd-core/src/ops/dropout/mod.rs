//! Inverted dropout: `y = x * mask / (1 - p)`.

pub(super) mod cpu;
#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor};

use super::slices;
use crate::{Error, Result, Stream};

/// Sets each value to zero with probability `p` and divides the others by `1 - p`.
///
/// The mask is a function of the stream and the value's position, so the backward draws it again
/// instead of keeping it. Of each 32-bit random word, 16 bits are used: `p` is rounded to a
/// multiple of 2^-16.
///
/// # Shapes
/// Any, f32; returns the same.
///
/// # Errors
/// [`Error::Config`] for `p` outside `[0, 1)`.
pub fn dropout(x: &Tensor, p: f32, stream: Stream) -> Result<Tensor> {
    let (x, mask) = (x.contiguous()?, mask(p, stream)?);
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::dropout(&x, mask);
    }
    Ok(x.apply_op1(Dropout(mask))?)
}

/// Which values are kept.
pub(crate) fn mask(p: f32, stream: Stream) -> Result<cpu::Mask> {
    check_p(p)?;
    Ok(cpu::Mask::new(p, stream))
}

pub(super) fn check_p(p: f32) -> Result<()> {
    if (0.0..1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::config("dropout", format!("{p} is not in [0, 1)")))
}

struct Dropout(cpu::Mask);

impl Dropout {
    fn masked(&self, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        self.0.apply(&mut y);
        y
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let y = self.masked(slices::of(x, layout)?);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let masked = slices::with(&grad, |grad| Ok(self.masked(grad)))?;
        Ok(Some(Tensor::from_vec(masked, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_grad, random};

    #[test]
    fn gradient_equals_central_differences() {
        for n in [1, 130, 4100] {
            let x = [random(Stream::new(1), &[n])];
            check_grad(&x, |t| dropout(&t[0], 0.25, Stream::new(2)));
        }
    }

    #[test]
    fn p_zero_is_the_identity_and_p_one_is_refused() {
        let x = random(Stream::new(1), &[3, 50]);
        let y = dropout(&x, 0.0, Stream::new(2)).unwrap();
        assert_eq!(x.to_vec2::<f32>().unwrap(), y.to_vec2::<f32>().unwrap());
        assert!(dropout(&x, 1.0, Stream::new(2)).is_err());
        assert!(dropout(&x, f32::NAN, Stream::new(2)).is_err());
    }

    #[test]
    fn the_mask_does_not_depend_on_the_thread_count() {
        let x = random(Stream::new(1), &[300_001]);
        let masked = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| dropout(&x, 0.5, Stream::new(3)).unwrap().to_vec1::<f32>().unwrap())
        };
        assert_eq!(masked(1), masked(3));
    }
}
