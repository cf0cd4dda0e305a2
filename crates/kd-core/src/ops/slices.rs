//! The f32 values of tensors in CPU memory.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor};

use crate::Error;

/// Calls `f` with the values of `tensor`.
///
/// # Errors
/// When they are not contiguous f32 in CPU memory; what `f` says.
pub fn with<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    f(in_memory(&storage, layout)?)
}

/// The same for several tensors at once.
///
/// # Errors
/// As [`with`].
pub fn with_all<R, const N: usize>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    let lent = tensors.map(Tensor::storage_and_layout);
    let mut all = [&[][..]; N];
    for (values, (storage, layout)) in all.iter_mut().zip(&lent) {
        *values = in_memory(storage, layout)?;
    }
    Ok(f(all))
}

fn in_memory<'s>(storage: &'s Storage, layout: &Layout) -> Result<&'s [f32]> {
    match storage {
        Storage::Cpu(storage) => of(storage, layout),
        _ => Err(Error::config("device", "this operation has a CPU implementation only").into()),
    }
}

/// Calls `f` with the values of `tensor`, to be written; as [`with`].
pub(crate) fn with_mut(tensor: &Tensor, f: impl FnOnce(&mut [f32])) -> Result<()> {
    tensor.inplace_op1(&Write(Cell::new(Some(f))))
}

/// The same for several tensors at once, which must be different ones.
pub(crate) fn with_all_mut(
    tensors: &[&Tensor],
    f: &mut dyn FnMut(&mut [&mut [f32]]),
) -> Result<()> {
    fn go(
        tensors: &[&Tensor],
        mut all: Vec<&mut [f32]>,
        f: &mut dyn FnMut(&mut [&mut [f32]]),
    ) -> Result<()> {
        let Some((first, rest)) = tensors.split_first() else {
            f(&mut all);
            return Ok(());
        };
        let mut result = Ok(());
        with_mut(first, |values| {
            let all = all.into_iter().chain([values]).collect();
            result = go(rest, all, f);
        })?;
        result
    }
    go(tensors, Vec::new(), f)
}

/// candle lends a tensor's memory for writing only to operations.
struct Write<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32])> InplaceOp1 for Write<F> {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let values = of_mut(storage, layout)?;
        if let Some(f) = self.0.take() {
            f(values);
        }
        Ok(())
    }
}

/// The values that `layout` selects from `storage`.
///
/// # Errors
/// When they are not f32, or not contiguous.
pub fn of<'s>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [f32]> {
    let (start, end) = bounds(layout)?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// The same, to be written.
pub(crate) fn of_mut<'s>(storage: &'s mut CpuStorage, layout: &Layout) -> Result<&'s mut [f32]> {
    let (start, end) = bounds(layout)?;
    match storage {
        CpuStorage::F32(values) => Ok(&mut values[start..end]),
        _ => Err(Error::config("dtype", "f32 is needed").into()),
    }
}

fn bounds(layout: &Layout) -> Result<(usize, usize)> {
    layout
        .contiguous_offsets()
        .ok_or_else(|| Error::shape("tensor", "contiguous", layout.dims()).into())
}
