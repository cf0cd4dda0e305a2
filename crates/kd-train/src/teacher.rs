//! What the teacher says of a batch.
//!
//! Key decision: what a network says of an image is remembered ([`Memory`]). A file of soft targets takes the
//! place of the memory where it would be too large, or should outlast the training. The outputs of a
//! teacher's parts are not remembered: where some are needed, it computes each batch.

use std::collections::BTreeMap;

use candle_core::Tensor;
use kd_core::{Batch, BatchSource, Classifier, Error, Mode, Result};

use crate::memory::{Memory, places};
use crate::soft_targets::{SoftTargetStore, TargetFile};
use crate::teacher_logits::TeacherLogits;

/// Logits that are kept in memory at most, 256 MiB.
const MAX_KEPT: usize = 1 << 26;

/// Who teaches.
#[derive(Clone, Copy)]
pub enum TeacherSource<'a> {
    /// A network; [`crate::Ensemble`] is several.
    Network(&'a dyn Classifier),
    /// Logits that were computed elsewhere.
    Logits(&'a TeacherLogits),
}

impl<'a> TeacherSource<'a> {
    /// The network, where there is one.
    pub fn network(self) -> Option<&'a dyn Classifier> {
        match self {
            Self::Network(model) => Some(model),
            Self::Logits(_) => None,
        }
    }
}

/// A teacher that remembers.
pub(crate) struct Teacher<'a> {
    from: TeacherSource<'a>,
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
    /// These logits, of which none was computed.
    pub(crate) fn known(logits: Tensor) -> Self {
        Self { logits, taps: BTreeMap::new(), n_computed: 0 }
    }

    /// All of it computed, without gradients.
    pub(crate) fn by(model: &dyn Classifier, batch: &Batch, taps: &[String]) -> Result<Self> {
        let taps: Vec<&str> = taps.iter().map(String::as_str).collect();
        let (logits, taps) = model.forward_with_taps(&batch.images, Mode::Eval, &taps)?;
        let taps = taps.into_iter().map(|(name, tap)| (name, tap.detach())).collect();
        Ok(Self { logits: logits.detach(), taps, n_computed: batch.indices.len() })
    }
}

impl<'a> Teacher<'a> {
    /// With `store`, remembers in a file. Else in memory, where each version of an image of
    /// `source` will be seen more than once in `n_epochs`, on average, and the memory is small.
    /// With `taps`, the names of parts whose outputs are needed as well, nothing is remembered.
    ///
    /// # Errors
    /// Those of [`TargetFile::open`]; [`Error::Config`] for `store` and `taps` together.
    pub(crate) fn new(
        from: TeacherSource<'a>,
        source: &'a dyn BatchSource,
        n_epochs: u64,
        store: Option<&SoftTargetStore<'_>>,
        taps: Vec<String>,
    ) -> Result<Self> {
        let memory = match (from, store, taps.first()) {
            (TeacherSource::Logits(_), None, _) | (_, None, Some(_)) => None,
            (TeacherSource::Network(model), None, None) => exact(model, source, n_epochs),
            (TeacherSource::Network(model), Some(store), None) => {
                Some(Memory::File(TargetFile::open(store, model, source)?))
            }
            (TeacherSource::Logits(_), Some(_), _) => {
                let reason =
                    "keep what a network says, but the teacher is a file of logits already";
                return Err(Error::config("soft_targets", reason));
            }
            (_, Some(_), Some(tap)) => {
                let reason = format!("keep logits alone, but an objective needs `{tap}` as well");
                return Err(Error::config("soft_targets", reason));
            }
        };
        Ok(Self { from, source, memory, taps })
    }

    /// What it says of `batch`, which epoch `epoch` shows.
    pub(crate) fn say(&self, epoch: u64, batch: &Batch) -> Result<Said> {
        let (model, memory) = match (self.from, &self.memory) {
            (TeacherSource::Logits(logits), _) => {
                return Ok(Said::known(logits.of(self.source, epoch, &batch.indices)?));
            }
            (TeacherSource::Network(model), None) => return Said::by(model, batch, &self.taps),
            (TeacherSource::Network(model), Some(memory)) => (model, memory),
        };
        let n_classes = model.n_classes();
        let places = places(self.source, epoch, &batch.indices);
        let compute = |images: &Tensor| model.forward(images, Mode::Eval);
        let (rows, n_computed) = memory.rows((&places, n_classes), &batch.images, compute)?;
        let logits = Tensor::from_vec(rows, (places.len(), n_classes), batch.images.device())?;
        Ok(Said { n_computed, ..Said::known(logits) })
    }

    /// What it said of these images, which epoch `epoch` shows, if it has been asked of all of them.
    pub(crate) fn recall(&self, epoch: u64, indices: &[u32]) -> Result<Option<Said>> {
        let (model, memory) = match (self.from, &self.memory) {
            (TeacherSource::Logits(logits), _) => {
                return logits.of(self.source, epoch, indices).map(|z| Some(Said::known(z)));
            }
            (TeacherSource::Network(_), None) => return Ok(None),
            (TeacherSource::Network(model), Some(memory)) => (model, memory),
        };
        let (places, n_classes) = (places(self.source, epoch, indices), model.n_classes());
        let Some(rows) = memory.recall(&places, n_classes)? else { return Ok(None) };
        let logits = Tensor::from_vec(rows, (places.len(), n_classes), &self.source.device())?;
        Ok(Some(Said::known(logits)))
    }
}

/// Room for all rows, where that is worth it.
fn exact(model: &dyn Classifier, source: &dyn BatchSource, n_epochs: u64) -> Option<Memory> {
    // A GPU computes them in less time than it takes to fetch them.
    if model.params().device().is_cuda() {
        return None;
    }
    Memory::exact(source, n_epochs, (model.n_classes(), MAX_KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Dots, Network, bits};

    /// The logits of four epochs, and how many images the network has seen for them.
    fn four_epochs(n_epochs: u64) -> (Vec<Vec<u32>>, usize) {
        let (model, source) = (Network::new(1), Dots::new(6));
        let from = TeacherSource::Network(&model);
        let teacher = Teacher::new(from, &source, n_epochs, None, Vec::new()).unwrap();
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
