//! What a fixed network says of images, remembered for each version of each image.
//!
//! Key decision: an image's outputs depend on nothing but the image, bit for bit. Where an epoch shows
//! an image as an earlier one did (random crops of MNIST's images have 25 versions), they are looked
//! up: over 65 epochs two thirds of a teacher's work is saved.

use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;
use kd_core::{BatchSource, Result};

use crate::soft_targets::TargetFile;

/// Rows of outputs, one for each version of each image.
pub(crate) enum Memory {
    /// As they are; NaN until they are known.
    Exact(Mutex<Vec<f32>>),
    /// In short, in a file.
    File(TargetFile),
}

impl Memory {
    /// Room for all rows of `width` numbers, at most `max` numbers together, where each version of an
    /// image of `source` will be seen more than once in `n_epochs`, on average.
    pub(crate) fn exact(
        source: &dyn BatchSource,
        n_epochs: u64,
        (width, max): (usize, usize),
    ) -> Option<Self> {
        let n_views = source.n_views().filter(|&n_views| (n_views as u64) < n_epochs)?;
        let len = source.n_samples().checked_mul(n_views)?.checked_mul(width)?;
        (len <= max).then(|| Self::Exact(Mutex::new(vec![f32::NAN; len])))
    }

    /// The rows of `width` numbers at `places`, one after another: those that are known, and those of
    /// `images` that `compute` adds; and how many these are.
    ///
    /// # Errors
    /// Those of `compute` and of the file.
    pub(crate) fn rows(
        &self,
        (places, width): (&[usize], usize),
        images: &Tensor,
        compute: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<(Vec<f32>, usize)> {
        let mut rows = vec![0.0; places.len() * width];
        let mut unknown = Vec::new();
        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
            if !self.get(places[i], row)? {
                unknown.push(i as u32);
            }
        }
        if unknown.is_empty() {
            return Ok((rows, 0));
        }
        let chosen = Tensor::new(&unknown[..], images.device())?;
        let computed = compute(&images.index_select(&chosen, 0)?)?.flatten_all()?;
        for (&i, computed) in unknown.iter().zip(computed.to_vec1()?.chunks_exact(width)) {
            let row = &mut rows[i as usize * width..][..width];
            row.copy_from_slice(computed);
            self.put(places[i as usize], row)?;
        }
        Ok((rows, unknown.len()))
    }

    /// The rows at `places`, if all of them are known.
    ///
    /// # Errors
    /// Those of the file.
    pub(crate) fn recall(&self, places: &[usize], width: usize) -> Result<Option<Vec<f32>>> {
        let mut rows = vec![0.0; places.len() * width];
        for (row, &place) in rows.chunks_exact_mut(width).zip(places) {
            if !self.get(place, row)? {
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }

    /// Writes the row at `place` to `row`; false when it is not known.
    fn get(&self, place: usize, row: &mut [f32]) -> Result<bool> {
        match self {
            Self::Exact(kept) => {
                let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                row.copy_from_slice(&kept[place * row.len()..][..row.len()]);
                Ok(!row[0].is_nan())
            }
            Self::File(file) => file.get(place, row),
        }
    }

    /// Remembers `row` at `place`, and makes it what [`Memory::get`] gives.
    fn put(&self, place: usize, row: &mut [f32]) -> Result<()> {
        match self {
            Self::Exact(kept) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept[place * row.len()..][..row.len()].copy_from_slice(row);
                Ok(())
            }
            Self::File(file) => file.put(place, row),
        }
    }
}

/// The numbers of the rows of the versions of images that epoch `epoch` shows.
pub(crate) fn places(source: &dyn BatchSource, epoch: u64, indices: &[u32]) -> Vec<usize> {
    let n = source.n_samples();
    indices.iter().map(|&index| source.view(epoch, index) * n + index as usize).collect()
}
