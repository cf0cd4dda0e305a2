//! Adding a gradient to the buffer of its parameter.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result};

use super::slices;
use crate::Grad;
use crate::gemm::Write;

/// Adds `values` to the gradient that `sink` holds.
pub(crate) fn deposit(sink: &Grad, values: &[f32]) -> Result<()> {
    let (buffer, write) = sink.write();
    buffer.inplace_op1(&Deposit(values, write))
}

/// `buffer = values` or `buffer += values`.
struct Deposit<'v>(&'v [f32], Write);

impl InplaceOp1 for Deposit<'_> {
    fn name(&self) -> &'static str {
        "deposit"
    }

    fn cpu_fwd(&self, buffer: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let buffer = slices::of_mut(buffer, layout)?;
        match self.1 {
            Write::Set => buffer.copy_from_slice(self.0),
            Write::Add => buffer.iter_mut().zip(self.0).for_each(|(b, v)| *b += v),
        }
        Ok(())
    }
}
