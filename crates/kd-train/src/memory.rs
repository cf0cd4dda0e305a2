//! What a fixed network says of images, remembered for each version of each image.
//!
//! Key decision: an image's outputs depend on nothing but the image, bit for bit. Where an epoch shows
//! an image as an earlier one did (random crops of MNIST's images have 25 versions), they are looked
//! up: over 65 epochs two thirds of a teacher's work is saved.

use candle_core::Tensor;
use kd_core::{BatchSource, Result};
use parking_lot::Mutex;

use crate::soft_targets::TargetFile;

/// A row for each of a network's outputs and each version of each image.
pub(crate) struct Memory {
    outputs: Vec<Output>,
}

/// One output: logits, or what a part makes of the images.
struct Output {
    /// Numbers of a row.
    width: usize,
    rows: Rows,
}

enum Rows {
    /// As they are; NaN until they are known.
    Exact(Mutex<Vec<f32>>),
    /// In a file.
    File(TargetFile),
}

/// What was looked up or computed: for each output the rows, one after another.
pub(crate) struct Known {
    pub(crate) outputs: Vec<Vec<f32>>,
    /// Rows that were computed.
    pub(crate) n_computed: usize,
}

impl Memory {
    /// Room for rows of `widths` numbers, at most `max` numbers together, where each version of an image
    /// of `source` will be seen more than once in `n_epochs`, on average.
    pub(crate) fn exact(
        source: &dyn BatchSource,
        n_epochs: u64,
        (widths, max): (&[usize], usize),
    ) -> Option<Self> {
        let n_views = source.n_views().filter(|&n_views| (n_views as u64) < n_epochs)?;
        let n_rows = source.n_samples().checked_mul(n_views)?;
        let width = widths.iter().try_fold(0usize, |sum, width| sum.checked_add(*width))?;
        n_rows.checked_mul(width).filter(|len| *len <= max)?;
        let output = |&width| {
            let rows = Rows::Exact(Mutex::new(vec![f32::NAN; n_rows * width]));
            Output { width, rows }
        };
        Some(Self { outputs: widths.iter().map(output).collect() })
    }

    /// The rows in `files`, each with the numbers of a row.
    pub(crate) fn files(files: Vec<(usize, TargetFile)>) -> Self {
        let output = |(width, file)| Output { width, rows: Rows::File(file) };
        Self { outputs: files.into_iter().map(output).collect() }
    }

    /// The rows at `places`: those that are known, and those of `images` that `compute` adds, which gives
    /// all outputs.
    ///
    /// # Errors
    /// Those of `compute` and of the files.
    pub(crate) fn rows(
        &self,
        places: &[usize],
        images: &Tensor,
        compute: impl Fn(&Tensor) -> Result<Vec<Tensor>>,
    ) -> Result<Known> {
        let mut outputs = self.blank(places.len());
        let mut unknown = Vec::new();
        for (i, place) in places.iter().enumerate() {
            if !self.get(*place, i, &mut outputs)? {
                unknown.push(i as u32);
            }
        }
        let n_computed = unknown.len();
        if n_computed == 0 {
            return Ok(Known { outputs, n_computed });
        }
        let chosen = Tensor::new(&unknown[..], images.device())?;
        let computed = compute(&images.index_select(&chosen, 0)?)?;
        for ((output, rows), computed) in self.outputs.iter().zip(&mut outputs).zip(computed) {
            let computed = computed.flatten_all()?.to_vec1()?;
            for (&i, computed) in unknown.iter().zip(computed.chunks_exact(output.width)) {
                let row = &mut rows[i as usize * output.width..][..output.width];
                row.copy_from_slice(computed);
                output.put(places[i as usize], row)?;
            }
        }
        Ok(Known { outputs, n_computed })
    }

    /// The rows at `places`, if all of them are known.
    ///
    /// # Errors
    /// Those of the files.
    pub(crate) fn recall(&self, places: &[usize]) -> Result<Option<Known>> {
        let mut outputs = self.blank(places.len());
        for (i, place) in places.iter().enumerate() {
            if !self.get(*place, i, &mut outputs)? {
                return Ok(None);
            }
        }
        Ok(Some(Known { outputs, n_computed: 0 }))
    }

    fn blank(&self, n: usize) -> Vec<Vec<f32>> {
        self.outputs.iter().map(|output| vec![0.0; n * output.width]).collect()
    }

    /// Writes what is at `place` to row `i` of each output; false when one is not known.
    fn get(&self, place: usize, i: usize, outputs: &mut [Vec<f32>]) -> Result<bool> {
        for (output, rows) in self.outputs.iter().zip(outputs) {
            if !output.get(place, &mut rows[i * output.width..][..output.width])? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Output {
    /// Writes the row at `place` to `row`; false when it is not known.
    fn get(&self, place: usize, row: &mut [f32]) -> Result<bool> {
        match &self.rows {
            Rows::Exact(kept) => {
                let kept = kept.lock();
                row.copy_from_slice(&kept[place * row.len()..][..row.len()]);
                Ok(!row[0].is_nan())
            }
            Rows::File(file) => file.get(place, row),
        }
    }

    /// Remembers `row` at `place`, and makes it what [`Output::get`] gives.
    fn put(&self, place: usize, row: &mut [f32]) -> Result<()> {
        match &self.rows {
            Rows::Exact(kept) => {
                let mut kept = kept.lock();
                kept[place * row.len()..][..row.len()].copy_from_slice(row);
                Ok(())
            }
            Rows::File(file) => file.put(place, row),
        }
    }
}

/// The numbers of the rows of the versions of images that epoch `epoch` shows.
pub(crate) fn places(source: &dyn BatchSource, epoch: u64, indices: &[u32]) -> Vec<usize> {
    let n = source.n_samples();
    indices.iter().map(|&index| source.view(epoch, index) * n + index as usize).collect()
}
