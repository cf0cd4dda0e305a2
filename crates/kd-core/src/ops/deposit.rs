//! Adding a gradient to the buffer of its parameter.

use candle_core::Result;

use super::slices;
use crate::Grad;
use crate::gemm::Write;

/// Adds `values` to the gradient that `sink` holds.
pub(crate) fn deposit(sink: &Grad, values: &[f32]) -> Result<()> {
    let (buffer, write) = sink.write();
    slices::with_mut(buffer, |buffer| match write {
        Write::Set => buffer.copy_from_slice(values),
        Write::Add => buffer.iter_mut().zip(values).for_each(|(b, v)| *b += v),
    })
}
