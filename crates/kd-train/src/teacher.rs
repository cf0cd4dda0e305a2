//! What the teacher says of a batch.
//!
//! Key decision: what a network says of an image, the outputs of its parts included, is remembered
//! ([`Memory`]). Files of soft targets take the place of the memory where it would be too large, or should
//! outlast the training.

use std::collections::BTreeMap;

use candle_core::Tensor;
use kd_core::{Batch, BatchSource, Classifier, Error, Mode, Result};

use crate::memory::{Known, Memory, places};
use crate::noise::noise;
use crate::soft_targets::{SoftTargetStore, TargetFile};
use crate::teacher_logits::TeacherLogits;

/// Numbers that are kept in memory at most, 256 MiB.
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
    /// Names of parts whose outputs are needed as well, and the sizes of these for one image.
    taps: Vec<(String, Vec<usize>)>,
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
        let mut outputs = outputs(model, &batch.images, taps)?;
        let logits = outputs.remove(0);
        let taps = taps.iter().cloned().zip(outputs).collect();
        Ok(Self { logits, taps, n_computed: batch.indices.len() })
    }
}

impl<'a> Teacher<'a> {
    /// With `store`, remembers in files. Else in memory, where each version of an image of
    /// `source` will be seen more than once in `n_epochs`, on average, and the memory is small.
    ///
    /// # Errors
    /// Those of [`TargetFile::open`]; [`Error::Config`] for `store` and a teacher without a network.
    pub(crate) fn new(
        from: TeacherSource<'a>,
        source: &'a dyn BatchSource,
        n_epochs: u64,
        store: Option<&SoftTargetStore<'_>>,
        taps: &[String],
    ) -> Result<Self> {
        let model = match (from, store) {
            (TeacherSource::Network(model), _) => model,
            (TeacherSource::Logits(_), None) => {
                return Ok(Self { from, source, memory: None, taps: Vec::new() });
            }
            (TeacherSource::Logits(_), Some(_)) => {
                let reason =
                    "keep what a network says, but the teacher is a file of logits already";
                return Err(Error::config("soft_targets", reason));
            }
        };
        let taps = sized(model, source, taps)?;
        let memory = match store {
            None => exact((model, &taps), source, n_epochs),
            Some(store) => Some(files((model, &taps), source, store)?),
        };
        Ok(Self { from, source, memory, taps })
    }

    /// What it says of `batch`, which epoch `epoch` shows.
    pub(crate) fn say(&self, epoch: u64, batch: &Batch) -> Result<Said> {
        let names: Vec<String> = self.taps.iter().map(|(name, _)| name.clone()).collect();
        let (model, memory) = match (self.from, &self.memory) {
            (TeacherSource::Logits(logits), _) => {
                return Ok(Said::known(logits.of(self.source, epoch, &batch.indices)?));
            }
            (TeacherSource::Network(model), None) => return Said::by(model, batch, &names),
            (TeacherSource::Network(model), Some(memory)) => (model, memory),
        };
        let places = places(self.source, epoch, &batch.indices);
        let compute = |images: &Tensor| outputs(model, images, &names);
        self.said(memory.rows(&places, &batch.images, compute)?, places.len())
    }

    /// What it said of these images, which epoch `epoch` shows, if it has been asked of all of them.
    pub(crate) fn recall(&self, epoch: u64, indices: &[u32]) -> Result<Option<Said>> {
        if let TeacherSource::Logits(logits) = self.from {
            return logits.of(self.source, epoch, indices).map(|z| Some(Said::known(z)));
        }
        let Some(memory) = &self.memory else { return Ok(None) };
        let known = memory.recall(&places(self.source, epoch, indices))?;
        known.map(|known| self.said(known, indices.len())).transpose()
    }

    /// Rows of `n` images as what they are.
    fn said(&self, known: Known, n: usize) -> Result<Said> {
        let device = self.source.device();
        let mut outputs = known.outputs.into_iter();
        let logits = outputs.next().unwrap_or_default();
        let n_classes = logits.len() / n;
        let logits = Tensor::from_vec(logits, (n, n_classes), &device)?;
        let shaped = |((name, dims), rows): (&(String, Vec<usize>), Vec<f32>)| {
            let tap = Tensor::from_vec(rows, [&[n], &dims[..]].concat(), &device)?;
            Ok((name.clone(), tap))
        };
        let taps = self.taps.iter().zip(outputs).map(shaped).collect::<Result<_>>()?;
        Ok(Said { logits, taps, n_computed: known.n_computed })
    }
}

/// Logits, and then the outputs of the parts `taps`, without gradients.
fn outputs(model: &dyn Classifier, images: &Tensor, taps: &[String]) -> Result<Vec<Tensor>> {
    let names: Vec<&str> = taps.iter().map(String::as_str).collect();
    let (logits, mut by_name) = model.forward_with_taps(images, Mode::Eval, &names)?;
    let of_taps = taps.iter().map(|name| {
        let missing = || Error::config(name, "the teacher gives no output of this part");
        by_name.remove(name).ok_or_else(missing)
    });
    let all = [Ok(logits)].into_iter().chain(of_taps);
    all.map(|output| Ok(output?.detach())).collect()
}

/// The parts `taps` with the sizes of what they make of one image, seen of two of noise.
fn sized(
    model: &dyn Classifier,
    source: &dyn BatchSource,
    taps: &[String],
) -> Result<Vec<(String, Vec<usize>)>> {
    if taps.is_empty() {
        return Ok(Vec::new());
    }
    let outputs = outputs(model, &noise(source)?, taps)?;
    let sizes = outputs[1..].iter().map(|output| output.dims()[1..].to_vec());
    Ok(taps.iter().cloned().zip(sizes).collect())
}

/// A network and its parts whose outputs are needed.
type Parts<'p> = (&'p dyn Classifier, &'p [(String, Vec<usize>)]);

/// Room for all rows, where that is worth it.
fn exact((model, taps): Parts<'_>, source: &dyn BatchSource, n_epochs: u64) -> Option<Memory> {
    // A GPU computes them in less time than it takes to fetch them.
    if model.params().device().is_cuda() {
        return None;
    }
    let of_taps = taps.iter().map(|(_, dims)| dims.iter().product());
    let widths: Vec<usize> = [model.n_classes()].into_iter().chain(of_taps).collect();
    Memory::exact(source, n_epochs, (&widths, MAX_KEPT))
}

/// A file for the logits, and one for each part.
fn files(
    (model, taps): Parts<'_>,
    source: &dyn BatchSource,
    store: &SoftTargetStore<'_>,
) -> Result<Memory> {
    let mut files = vec![(model.n_classes(), TargetFile::open(store, model, source)?)];
    for (name, dims) in taps {
        let width = dims.iter().product();
        files.push((width, TargetFile::open_tap(store, model, source, (name, width))?));
    }
    Ok(Memory::files(files))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use kd_core::ops::{Conv2d, Flatten, Linear, Relu};
    use kd_core::{Graph, Net, Stream};

    use super::*;
    use crate::soft_targets::SoftTargets;
    use crate::testing::{Dots, N_CLASSES, Network, bits};

    /// The logits of four epochs, and how many images the network has seen for them.
    fn four_epochs(n_epochs: u64) -> (Vec<Vec<u32>>, usize) {
        let (model, source) = (Network::new(1), Dots::new(6));
        let from = TeacherSource::Network(&model);
        let teacher = Teacher::new(from, &source, n_epochs, None, &[]).unwrap();
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

    /// Logits and the outputs of a part, as bits, of four epochs; and how many rows were computed.
    fn with_part(n_epochs: u64, store: Option<&SoftTargetStore<'_>>) -> (Vec<Vec<u32>>, usize) {
        let mut graph = Graph::new([1, 2, 2]);
        graph.then("conv", Conv2d::new(3, 2));
        graph.then("part", Relu {});
        graph.then("flatten", Flatten {});
        graph.then("fc", Linear::new(N_CLASSES));
        let (model, source) = (Net::new(graph, Stream::new(1), &Device::Cpu), Dots::new(6));
        let model = model.unwrap();
        let (from, taps) = (TeacherSource::Network(&model), ["part".to_owned()]);
        let teacher = Teacher::new(from, &source, n_epochs, store, &taps).unwrap();
        let (mut all, mut n_computed) = (Vec::new(), 0);
        for epoch in 0..4 {
            let said = teacher.say(epoch, &source.batch(epoch, &[3, 0, 5]).unwrap()).unwrap();
            n_computed += said.n_computed;
            assert_eq!(said.taps["part"].dims()[0], 3);
            for tensor in [&said.logits, &said.taps["part"]] {
                all.push(bits(&tensor.flatten_all().unwrap().to_vec1().unwrap()));
            }
        }
        (all, n_computed)
    }

    #[test]
    fn outputs_of_parts_are_remembered_as_well() {
        let (plain, n_plain) = with_part(3, None);
        assert_eq!(n_plain, 12);
        assert_eq!(with_part(4, None), (plain.clone(), 9));
        let folder = tempfile::tempdir().unwrap();
        let targets = SoftTargets::default();
        let store = SoftTargetStore { targets, folder: folder.path(), identity: "" };
        assert_eq!(with_part(4, Some(&store)), (plain.clone(), 9));
        assert_eq!(with_part(4, Some(&store)), (plain, 0));
    }
}
