//! Tensors that are known before any image is: weights, and whatever is computed from them.

use std::sync::Arc;

use crate::weights::Dtype;

/// What was asked for, or why it cannot be, in words; the place is added further out.
pub(super) type Checked<T> = std::result::Result<T, String>;

/// A tensor of known numbers. Cloning shares them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    pub(super) data: Data,
    /// The initializer that it is, perhaps in another shape or order; nothing for what was computed.
    pub(super) origin: Option<String>,
    /// The type in which the file has it; nothing for what was computed.
    pub(super) stored: Option<Dtype>,
}

/// Numbers, row by row. Truth values are integers, 0 and 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    Floats(Arc<Vec<f32>>),
    Ints(Arc<Vec<i64>>),
}

impl Constant {
    pub(super) fn floats(dims: &[usize], values: Vec<f32>) -> Self {
        Self {
            dims: dims.to_vec(),
            data: Data::Floats(Arc::new(values)),
            origin: None,
            stored: None,
        }
    }

    pub(super) fn ints(dims: &[usize], values: Vec<i64>) -> Self {
        Self { dims: dims.to_vec(), data: Data::Ints(Arc::new(values)), origin: None, stored: None }
    }

    /// One axis of integers.
    pub(super) fn vector(values: Vec<i64>) -> Self {
        Self::ints(&[values.len()], values)
    }

    /// The same numbers in another shape.
    pub(super) fn reshaped(&self, dims: Vec<usize>) -> Self {
        Self { dims, ..self.clone() }
    }

    /// Whether both are the same, NaN included.
    pub(super) fn same(&self, other: &Self) -> bool {
        let numbers = match (&self.data, &other.data) {
            (Data::Floats(a), Data::Floats(b)) => {
                let same_bits = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
                Arc::ptr_eq(a, b) || (a.len() == b.len() && a.iter().zip(b.iter()).all(same_bits))
            }
            (Data::Ints(a), Data::Ints(b)) => a == b,
            _ => false,
        };
        numbers && self.dims == other.dims
    }

    /// Numbers that are in no other tensor.
    pub(super) fn n_own(&self) -> usize {
        let shared = match &self.data {
            Data::Floats(values) => Arc::strong_count(values) > 1,
            Data::Ints(values) => Arc::strong_count(values) > 1,
        };
        if shared { 0 } else { self.len() }
    }

    /// Number of numbers.
    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Floats(values) => values.len(),
            Data::Ints(values) => values.len(),
        }
    }

    pub(super) fn as_floats(&self) -> Checked<&[f32]> {
        match &self.data {
            Data::Floats(values) => Ok(values),
            Data::Ints(_) => Err("integers stand where floating-point numbers are needed".into()),
        }
    }

    pub(super) fn as_ints(&self) -> Checked<&[i64]> {
        match &self.data {
            Data::Ints(values) => Ok(values),
            Data::Floats(_) => Err("floating-point numbers stand where integers are needed".into()),
        }
    }

    /// The number, where it is a single one.
    pub(super) fn scalar(&self) -> Option<f32> {
        match &self.data {
            Data::Floats(values) if values.len() == 1 => Some(values[0]),
            Data::Ints(values) if values.len() == 1 => Some(values[0] as f32),
            _ => None,
        }
    }

    /// One number for each of `channels`, where it is that for activations of `n_dims` axes whose
    /// channels are on `axis`: broadcast as ONNX does, from the last axis on.
    pub(super) fn per_channel(
        &self,
        n_dims: usize,
        axis: usize,
        channels: usize,
    ) -> Option<Vec<f32>> {
        let values = self.as_floats().ok()?;
        if values.len() == 1 {
            return Some(vec![values[0]; channels]);
        }
        let before = n_dims.checked_sub(self.dims.len())?;
        let others_are_one = self
            .dims
            .iter()
            .enumerate()
            .all(|(i, &dim)| if before + i == axis { dim == channels } else { dim == 1 });
        (others_are_one && values.len() == channels).then(|| values.to_vec())
    }
}

/// How far apart neighbours on each axis are, in a tensor of `dims`.
pub(super) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// The product of `dims`, where it is below `2^48`.
pub(super) fn n_elements(dims: &[usize]) -> Checked<usize> {
    let n = dims.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim));
    n.filter(|n| *n < 1 << 48).ok_or_else(|| format!("{dims:?} is larger than any memory"))
}

/// An axis that may count from the end.
pub(super) fn axis(axis: i64, n_dims: usize) -> Checked<usize> {
    let counted = if axis < 0 { axis.saturating_add(n_dims as i64) } else { axis };
    let inside = usize::try_from(counted).ok().filter(|axis| *axis < n_dims);
    inside.ok_or_else(|| format!("axis {axis} of {n_dims}"))
}
