//! What the teacher says of a batch.
//!
//! Key decision: a teacher's logits on an image depend on nothing but the image, bit for bit. Where
//! an epoch shows an image as an earlier one did (random crops of MNIST's images have 25 versions),
//! they are looked up: over 65 epochs two thirds of the teacher's work is saved. A file of soft
//! targets takes the place of the memory where it would be too large, or should outlast the
//! training. The outputs of a teacher's parts are not remembered: where some are needed, it computes
//! each batch.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;
use kd_core::{Batch, BatchSource, Classifier, Error, Mode, Result};

use crate::soft_targets::{SoftTargetStore, TargetFile};

/// Logits that are kept in memory at most, 256 MiB.
const MAX_KEPT: usize = 1 << 26;

/// A teacher that remembers.
pub(crate) struct Teacher<'a> {
    model: &'a dyn Classifier,
    source: &'a dyn BatchSource,
    memory: Option<Memory>,
    taps: Vec<String>,
}

/// What a teacher says of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// `(N, K)`.
    pub(crate) logits: Tensor,
    /// The outputs of its parts, by name.
    pub(crate) taps: BTreeMap<String, Tensor>,
    /// Rows that were computed for this batch.
    pub(crate) n_computed: usize,
}

impl Said {
    /// All of it computed, without gradients.
    pub(crate) fn by(model: &dyn Classifier, batch: &Batch, taps: &[String]) -> Result<Self> {
        let taps: Vec<&str> = taps.iter().map(String::as_str).collect();
        let (logits, taps) = model.forward_with_taps(&batch.images, Mode::Eval, &taps)?;
        let taps = taps.into_iter().map(|(name, tap)| (name, tap.detach())).collect();
        Ok(Self { logits: logits.detach(), taps, n_computed: batch.indices.len() })
    }
}

/// Rows of logits, one for each version of each image.
enum Memory {
    /// As they are; NaN until they are known.
    Exact(Mutex<Vec<f32>>),
    /// In short, in a file.
    File(TargetFile),
}

impl<'a> Teacher<'a> {
    /// With `store`, remembers in a file. Else in memory, where each version of an image of
    /// `source` will be seen more than once in `n_epochs`, on average, and the memory is small.
    /// With `taps`, the names of parts whose outputs are needed as well, nothing is remembered.
    ///
    /// # Errors
    /// Those of [`TargetFile::open`]; [`Error::Config`] for `store` and `taps` together.
    pub(crate) fn new(
        model: &'a dyn Classifier,
        source: &'a dyn BatchSource,
        n_epochs: u64,
        store: Option<&SoftTargetStore<'_>>,
        taps: Vec<String>,
    ) -> Result<Self> {
        let memory = match (store, taps.first()) {
            (None, None) => exact(model, source, n_epochs),
            (None, Some(_)) => None,
            (Some(store), None) => Some(Memory::File(TargetFile::open(store, model, source)?)),
            (Some(_), Some(tap)) => {
                let reason = format!("keep logits alone, but an objective needs `{tap}` as well");
                return Err(Error::config("soft_targets", reason));
            }
        };
        Ok(Self { model, source, memory, taps })
    }

    /// What it says of `batch`, which epoch `epoch` shows.
    pub(crate) fn say(&self, epoch: u64, batch: &Batch) -> Result<Said> {
        let n_rows = batch.indices.len();
        let Some(memory) = &self.memory else {
            return Said::by(self.model, batch, &self.taps);
        };
        let n_classes = self.model.n_classes();
        let mut rows = vec![0.0; n_rows * n_classes];
        let mut unknown = Vec::new();
        for (i, row) in rows.chunks_exact_mut(n_classes).enumerate() {
            if !memory.get(self.place(epoch, batch.indices[i]), row)? {
                unknown.push(i as u32);
            }
        }
        let computed = self.forward(&batch.images, &unknown)?;
        for (&i, logits) in unknown.iter().zip(computed.chunks_exact(n_classes)) {
            let row = &mut rows[i as usize * n_classes..][..n_classes];
            row.copy_from_slice(logits);
            memory.put(self.place(epoch, batch.indices[i as usize]), row)?;
        }
        let logits = Tensor::from_vec(rows, (n_rows, n_classes), batch.images.device())?;
        Ok(Said { logits, taps: BTreeMap::new(), n_computed: unknown.len() })
    }

    /// The number of the row of the version of image `index` that epoch `epoch` shows.
    fn place(&self, epoch: u64, index: u32) -> usize {
        self.source.view(epoch, index) * self.source.n_samples() + index as usize
    }

    /// The logits of some rows of `images`.
    fn forward(&self, images: &Tensor, rows: &[u32]) -> Result<Vec<f32>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let rows = Tensor::new(rows, images.device())?;
        let logits = self.model.forward(&images.index_select(&rows, 0)?, Mode::Eval)?;
        Ok(logits.flatten_all()?.to_vec1()?)
    }
}

/// Room for all rows, where that is worth it.
fn exact(model: &dyn Classifier, source: &dyn BatchSource, n_epochs: u64) -> Option<Memory> {
    // A GPU computes them in less time than it takes to fetch them.
    if model.params().device().is_cuda() {
        return None;
    }
    let n_views = source.n_views().filter(|&n_views| (n_views as u64) < n_epochs)?;
    let len = source.n_samples().checked_mul(n_views)?.checked_mul(model.n_classes())?;
    (len <= MAX_KEPT).then(|| Memory::Exact(Mutex::new(vec![f32::NAN; len])))
}

impl Memory {
    /// Writes the logits at `place` to `row`; false when they are not known.
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

    /// Remembers the logits `row` at `place`, and makes them what [`Memory::get`] gives.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Dots, Network, bits};

    /// The logits of four epochs, and how many images the network has seen for them.
    fn four_epochs(n_epochs: u64) -> (Vec<Vec<u32>>, usize) {
        let (model, source) = (Network::new(1), Dots::new(6));
        let teacher = Teacher::new(&model, &source, n_epochs, None, Vec::new()).unwrap();
        let batches = (0..4).flat_map(|epoch| [[3, 0, 5], [1, 2, 4]].map(|rows| (epoch, rows)));
        let mut n_computed = 0;
        let logits = batches.map(|(epoch, rows)| {
            let batch = source.batch(epoch, &rows).unwrap();
            let said = teacher.say(epoch, &batch).unwrap();
            n_computed += said.n_computed;
            assert_eq!(said.logits.dims(), [3, 6]);
            bits(&said.logits.flatten_all().unwrap().to_vec1().unwrap())
        });
        let logits = logits.collect();
        assert_eq!(model.n_seen(), n_computed);
        (logits, n_computed)
    }

    #[test]
    fn remembering_changes_no_bit_and_saves_what_was_seen() {
        let (plain, n_plain) = four_epochs(3);
        let (remembered, n_remembered) = four_epochs(4);
        assert_eq!(plain, remembered);
        // The fourth epoch shows what the first one showed.
        assert_eq!((n_plain, n_remembered), (24, 18));
    }
}
