//! Operations in candle's graph whose value is computed before they are recorded.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor,
};

use super::storage_copy;
use crate::{Error, Result};

/// From the gradient of a value to that of what it was made from.
type Backward = Box<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// `value`, made from `x`; recorded where a gradient flows to `x`.
pub(crate) fn known(
    x: &Tensor,
    value: Tensor,
    backward: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    if !x.track_op() {
        return Ok(value);
    }
    Ok(x.apply_op1(Known { value, backward: Box::new(backward) })?)
}

struct Known {
    value: Tensor,
    backward: Backward,
}

impl CustomOp1 for Known {
    fn name(&self) -> &'static str {
        "known"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        Err(Error::config("device", "the value is on a GPU").into())
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        Ok((storage_copy(&self.value)?, self.value.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        Ok(Some((self.backward)(&grad.contiguous()?)?))
    }
}
