//! A tensor within a file: its type and shape, and where its numbers lie.

use std::collections::BTreeMap;

use kd_core::Result;

use super::Dtype;
use super::checked::Checked;
use super::source::Source;

/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;
/// A view is read with the gaps between its numbers, which may be so many times as many. Slices of
/// a few numbers, out of at most [`SMALL`] many, may be sparser.
const MAX_SPREAD: u64 = 4;
const SMALL: u64 = 1 << 16;

/// Where the storages lie, by their keys.
pub(super) type Places = BTreeMap<String, Span>;

/// A tensor that has been found in a file but not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Type of its numbers.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Steps from one element to the next, in elements.
    strides: Vec<usize>,
    /// Where in the file its first element lies.
    offset: u64,
    /// Whether its numbers are those of the file with the other sign.
    is_negative: bool,
}

/// Where in a file the numbers of one or more tensors lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) n_bytes: u64,
}

impl Stored {
    /// A tensor whose elements lie one after the other, in row-major order.
    pub(super) fn contiguous(dtype: Dtype, shape: Vec<usize>, span: Span) -> Checked<Self> {
        let strides = row_major(&shape).ok_or("its size overflows")?;
        Self::strided(dtype, (shape, strides), 0, span)
    }

    /// A tensor whose first element is element `first` of those in `span`.
    pub(super) fn strided(
        dtype: Dtype,
        (shape, strides): (Vec<usize>, Vec<usize>),
        first: u64,
        span: Span,
    ) -> Checked<Self> {
        if shape.len() > MAX_RANK || shape.len() != strides.len() {
            return Err(format!("{} dimensions and {} strides", shape.len(), strides.len()));
        }
        let available = span.n_bytes / dtype.size();
        // More elements than numbers are those of a view that repeats some.
        let fits = n_elements(&shape).is_some()
            && extent(&shape, &strides)
                .and_then(|n| n.checked_add(first))
                .is_some_and(|end| end <= available);
        if !fits {
            return Err(format!(
                "a tensor of shape {shape:?}, strides {strides:?} from element {first} on does \
                 not fit the {available} stored numbers"
            ));
        }
        let offset = span.offset + first * dtype.size();
        Ok(Self { dtype, shape, strides, offset, is_negative: false })
    }

    /// The same with the other sign, if that is so.
    pub(super) fn negated(self, is_negative: bool) -> Self {
        Self { is_negative, ..self }
    }

    /// The numbers in row-major order. A view may repeat numbers: whoever reads it wants so many.
    pub(super) fn read(&self, source: &Source) -> Result<Vec<f32>> {
        let n = extent(&self.shape, &self.strides).unwrap_or(0);
        if n > MAX_SPREAD.saturating_mul(n_elements(&self.shape).unwrap_or(0)).saturating_add(SMALL)
        {
            let reason = format!("{:?} numbers spread over {n}; save a copy of it", self.shape);
            return Err(source.fault(self.offset, reason));
        }
        let bytes = source.read(self.offset, n * self.dtype.size())?;
        let Some(mut numbers) = self.dtype.to_f32(&bytes) else {
            let reason = format!("numbers of type {}, but weights are floats", self.dtype);
            return Err(source.fault(self.offset, reason));
        };
        drop(bytes);
        if self.is_negative {
            numbers.iter_mut().for_each(|number| *number = -*number);
        }
        if row_major(&self.shape).as_ref() == Some(&self.strides) {
            return Ok(numbers);
        }
        Ok(gather(&numbers, &self.shape, &self.strides))
    }

    /// Where in the file its first element lies.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

fn n_elements(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64))
}

/// Number of elements from the first to the last one, both included.
fn extent(shape: &[usize], strides: &[usize]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().zip(strides).try_fold(1u64, |n, (&d, &stride)| {
        n.checked_add((d as u64 - 1).checked_mul(stride as u64)?)
    })
}

fn row_major(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].checked_mul(shape[i])?;
    }
    Some(strides)
}

/// The elements of `values` in row-major order of `shape`.
fn gather(values: &[f32], shape: &[usize], strides: &[usize]) -> Vec<f32> {
    let mut starts = if shape.contains(&0) { vec![] } else { vec![0] };
    for (&d, &stride) in shape.iter().zip(strides) {
        starts = starts.iter().flat_map(|s| (0..d).map(move |i| s + i * stride)).collect();
    }
    starts.into_iter().map(|i| values[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { offset: 100, n_bytes: 24 };

    fn strided(shape: &[usize], strides: &[usize], first: u64) -> Checked<Stored> {
        Stored::strided(Dtype::F32, (shape.into(), strides.into()), first, SPAN)
    }

    #[test]
    fn tensors_stay_within_their_storage() {
        assert_eq!(strided(&[2, 3], &[3, 1], 0).unwrap().offset(), 100);
        assert_eq!(strided(&[2, 2], &[3, 1], 1).unwrap().offset(), 104);
        assert!(strided(&[], &[], 5).is_ok());
        assert!(strided(&[7], &[0], 5).is_ok());
        assert!(strided(&[0, 7], &[usize::MAX, 1], 0).is_ok());
        for (shape, strides, first) in [
            (&[2, 3][..], &[3, 1][..], 1),
            (&[7], &[1], 0),
            (&[7], &[0], 6),
            (&[], &[], 6),
            (&[2], &[usize::MAX], 0),
            (&[usize::MAX, usize::MAX], &[1, 1], 0),
            (&[1], &[1], u64::MAX),
            (&[1], &[1, 1], 0),
            (&[1; 9], &[1; 9], 0),
        ] {
            assert!(strided(shape, strides, first).is_err(), "{shape:?} {strides:?} {first}");
        }
    }

    #[test]
    fn a_view_of_few_numbers_does_not_read_a_large_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let span = Span { offset: 0, n_bytes: 1 << 40 };
        let read = |strides: Vec<usize>| {
            let stored = Stored::strided(Dtype::F32, (vec![4, 4], strides), 0, span).unwrap();
            stored.read(&Source::open(&path).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(read(vec![1 << 10, 1]).unwrap(), [0.0; 16]);
        assert!(read(vec![1 << 36, 1]).unwrap_err().contains("save a copy"));
    }

    #[test]
    fn elements_are_gathered_in_row_major_order() {
        let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(gather(&values, &[3, 2], &[1, 3]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(gather(&values, &[2], &[4]), [0.0, 4.0]);
        assert_eq!(gather(&values, &[], &[]), [0.0]);
        assert_eq!(gather(&[], &[0, 2], &[2, 1]), [0.0; 0]);
    }
}
