//! Adding a gradient to the buffer of its parameter.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor};

use super::slices;
use crate::Grad;
use crate::gemm::Write;

/// Adds `values` to the gradient that `sink` holds.
pub(super) fn deposit(sink: &Grad, values: Tensor) -> Result<()> {
    let (buffer, write) = sink.write();
    buffer.inplace_op2(&values, &Deposit(write))
}

/// `buffer = values` or `buffer += values`.
struct Deposit(Write);

impl InplaceOp2 for Deposit {
    fn name(&self) -> &'static str {
        "deposit"
    }

    fn cpu_fwd(
        &self,
        buffer: &mut CpuStorage,
        buffer_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> Result<()> {
        let buffer = slices::of_mut(buffer, buffer_layout)?;
        let values = slices::of(values, values_layout)?;
        match self.0 {
            Write::Set => buffer.copy_from_slice(values),
            Write::Add => buffer.iter_mut().zip(values).for_each(|(b, v)| *b += v),
        }
        Ok(())
    }
}
