//! `y = max(0, x)`, with derivative 0 at 0 as in PyTorch (candle's own has 1 there).

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor};
use rayon::prelude::*;

use super::{channels, slices};
use crate::Result;

/// `max(0, x)`, value by value; any shape, f32.
///
/// # Errors
/// When candle cannot allocate.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op1(Relu)?)
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let mut y = slices::of(x, layout)?.to_vec();
        y.par_chunks_mut(channels::TASK).for_each(|y| channels::finish(y, None, None, true));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let mut values = grad.flatten_all()?.to_vec1()?;
        slices::with(y, |y| {
            channels::through_relu(&mut values, y);
            Ok(())
        })?;
        Tensor::from_vec(values, grad.shape(), grad.device()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::Stream;
    use crate::testing::{check_grad, random};

    #[test]
    fn the_gradient_equals_central_differences_and_is_zero_at_zero() {
        check_grad(&[random(Stream::new(1), &[7, 9])], |t| relu(&t[0]));
        let x = Var::new(&[-1.0f32, -0.0, 0.0, 2.0], &Device::Cpu).unwrap();
        let y = relu(&x).unwrap();
        assert_eq!(y.to_vec1::<f32>().unwrap(), [0.0, 0.0, 0.0, 2.0]);
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_vec1::<f32>().unwrap(), [0.0, 0.0, 0.0, 1.0]);
    }
}
