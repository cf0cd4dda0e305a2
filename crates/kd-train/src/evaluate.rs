//! Images to evaluate on: small sets in memory, large ones as they stream by.
//!
//! Key decision: an image's logits do not depend on its batch, and scores are summed in the order
//! of the images. So a set gives the same bits in memory, streaming, and on any number of threads.

use std::sync::Arc;

use candle_core::Tensor;
use kd_core::record::Evaluation;
use kd_core::{Batch, BatchSource, Classifier, Mode, Result, Shards, argmax};
use rayon::prelude::*;

use crate::score::{N_NUMBERS, Scored, Scores};

/// Assembled batches that are kept in memory at most, for a whole set: 1 GiB. MNIST's test set
/// takes 31 MB, CIFAR-10's 123 MB, ImageNet's validation set would take 30 GB.
const MAX_KEPT: usize = 1 << 30;

/// Images of one forward pass at most, and the values that they may have together (13 photographs
/// of 224 x 224 pixels): so few that a convolution's output stays near the processor.
const BATCH: (usize, usize) = (100, 1 << 21);

/// The same on a GPU, which small batches leave idle (111 photographs).
const GPU_BATCH: (usize, usize) = (1000, 1 << 24);

/// Images to evaluate on.
///
/// A set of at most 1 GiB is assembled once. A larger one is assembled anew for each evaluation,
/// as many batches at once as there are threads, while those before are evaluated: twice that many
/// batches are in memory. Labels are those of the batches, so that a source may leave out images
/// that it cannot read.
pub struct EvalSet {
    source: Arc<dyn BatchSource>,
    kept: Option<Vec<Batch>>,
    /// Whether networks see what was made of the images in place of them.
    of_features: bool,
}

impl EvalSet {
    /// All images of `source`, in the order of its epoch 0.
    ///
    /// # Errors
    /// Whatever `source` reports when it assembles a small set.
    pub fn new(source: Arc<dyn BatchSource>) -> Result<Self> {
        Self::keeping(source, MAX_KEPT)
    }

    /// As [`EvalSet::new`], with another bound in bytes for what is assembled once.
    fn keeping(source: Arc<dyn BatchSource>, max_kept: usize) -> Result<Self> {
        let size = source.n_samples().saturating_mul(4 * n_values(&*source));
        let mut kept = None;
        if size <= max_kept {
            let order = source.order(0);
            let batches: Vec<_> = order.chunks(batch_size(&*source)).collect();
            kept = Some(assemble(&*source, &batches)?);
        }
        Ok(Self { source, kept, of_features: false })
    }

    /// The same images, of which networks see what `features` makes of them, batch by batch
    /// ([`Classifier::features`]).
    pub(crate) fn of_features(
        &self,
        features: &(dyn Fn(&Tensor) -> Result<Tensor> + Sync),
    ) -> Result<Self> {
        let seen = |batch: &Batch| {
            let images = features(&batch.images)?;
            Ok(Batch { images, labels: batch.labels.clone(), indices: batch.indices.clone() })
        };
        let order = self.source.order(0);
        let batches: Vec<_> = order.chunks(batch_size(&*self.source)).collect();
        let mut kept = Vec::new();
        for indices in batches.chunks(rayon::current_num_threads()) {
            let batches = assemble(&*self.source, indices)?;
            kept.extend(batches.par_iter().map(seen).collect::<Result<Vec<_>>>()?);
        }
        Ok(Self { source: self.source.clone(), kept: Some(kept), of_features: true })
    }

    /// Number of images; of those that can be read there may be fewer.
    pub fn n_images(&self) -> usize {
        self.source.n_samples()
    }

    /// Number of classes, K.
    pub fn n_classes(&self) -> usize {
        self.source.n_classes()
    }

    /// The logits of all images, `(N, K)` row-major, and their labels.
    ///
    /// # Errors
    /// Whatever data and network report.
    pub fn logits(&self, model: &dyn Classifier) -> Result<(Vec<f32>, Vec<u32>)> {
        let (mut all, mut all_labels) = (Vec::new(), Vec::new());
        self.forward(model, &mut |logits, labels| {
            all.extend_from_slice(logits);
            all_labels.extend_from_slice(labels);
        })?;
        Ok((all, all_labels))
    }

    /// How `model` does on these images. With `teacher`, the teacher's predictions on them, also
    /// how often the two agree.
    ///
    /// # Errors
    /// Whatever data and network report.
    pub fn evaluate(&self, model: &dyn Classifier, teacher: Option<&[u32]>) -> Result<Evaluation> {
        let mut scores = Scores::new(self.n_classes(), teacher);
        self.forward(model, &mut |logits, labels| scores.add(logits, labels))?;
        Ok(scores.evaluation())
    }

    /// How `model` does on these images, of which each rank of `shards` looks at some: the same on all.
    ///
    /// # Errors
    /// Whatever data and network report; [`kd_core::Error::Rank`] when another rank is gone.
    pub(crate) fn evaluate_shared(
        &self,
        model: &dyn Classifier,
        shards: &Shards,
    ) -> Result<Evaluation> {
        let order = self.source.order(0);
        let batches: Vec<&[u32]> = order.chunks(batch_size(&*self.source)).collect();
        let (rank, n_ranks) = shards.place();
        let n_own = batches.len().div_ceil(n_ranks);
        let first = (rank * n_own).min(batches.len());
        let own = &batches[first..(first + n_own).min(batches.len())];
        let mut scored = Vec::new();
        let ask = |images: &Tensor| model.forward(images, Mode::Eval);
        stream_batches(&*self.source, own, &ask, &mut |logits, labels| {
            for (row, label) in logits.chunks_exact(self.n_classes()).zip(labels) {
                scored.extend(Scored::of(row, *label as usize).to_numbers());
            }
        })?;
        // What cannot be read, and what the last rank lacks.
        scored.resize(n_own * batch_size(&*self.source) * N_NUMBERS, f64::NAN);
        let mut scores = Scores::new(self.n_classes(), None);
        let all = shards.gather(scored)?;
        all.chunks_exact(N_NUMBERS).filter_map(Scored::of_numbers).for_each(|s| scores.add_one(s));
        Ok(scores.evaluation())
    }

    /// How `model` does on these images, and the class that it predicts for each: a teacher's, with
    /// which its students may agree.
    ///
    /// # Errors
    /// Whatever data and network report.
    pub fn evaluate_teacher(&self, model: &dyn Classifier) -> Result<(Evaluation, Vec<u32>)> {
        let mut scores = Scores::new(self.n_classes(), None);
        let mut predictions = Vec::with_capacity(self.n_images());
        self.forward(model, &mut |logits, labels| {
            scores.add(logits, labels);
            let rows = logits.chunks_exact(self.n_classes());
            predictions.extend(rows.map(|row| argmax(row) as u32));
        })?;
        Ok((scores.evaluation(), predictions))
    }

    /// Calls `each` with logits and labels of one batch after another.
    fn forward(&self, model: &dyn Classifier, each: &mut Each<'_>) -> Result<()> {
        match &self.kept {
            Some(batches) => {
                let mut groups = batches.chunks(rayon::current_num_threads());
                let ask = |images: &Tensor| match self.of_features {
                    true => model.forward_features(images, Mode::Eval),
                    false => model.forward(images, Mode::Eval),
                };
                groups.try_for_each(|group| forward(&ask, group, each))
            }
            None => stream(&*self.source, model, each),
        }
    }
}

/// The logits of all images of `source`, in the order of its epoch 0, `(N, K)` row-major; for sets
/// that are looked at once.
///
/// # Errors
/// Whatever data and network report.
pub fn logits(model: &dyn Classifier, source: &dyn BatchSource) -> Result<Vec<f32>> {
    let mut all = Vec::with_capacity(source.n_samples() * source.n_classes());
    stream(source, model, &mut |logits, _| all.extend_from_slice(logits))?;
    Ok(all)
}

/// Receives logits, `(N, K)` row-major, and labels of a batch.
type Each<'a> = dyn FnMut(&[f32], &[u32]) + Send + 'a;

/// Calls `each` with logits and labels of one batch after another, while the next ones are
/// assembled.
fn stream(source: &dyn BatchSource, model: &dyn Classifier, each: &mut Each<'_>) -> Result<()> {
    let order = source.order(0);
    let batches: Vec<_> = order.chunks(batch_size(source)).collect();
    stream_batches(source, &batches, &|images| model.forward(images, Mode::Eval), each)
}

/// The same for these batches.
fn stream_batches(
    source: &dyn BatchSource,
    batches: &[&[u32]],
    ask: &(dyn Fn(&Tensor) -> Result<Tensor> + Sync),
    each: &mut Each<'_>,
) -> Result<()> {
    let groups = batches.chunks(rayon::current_num_threads());
    let mut groups = groups.map(|group| assemble(source, group));
    let mut next = groups.next().transpose()?;
    while let Some(current) = next {
        let (done, following) =
            rayon::join(|| forward(ask, &current, each), || groups.next().transpose());
        done?;
        next = following?;
    }
    Ok(())
}

/// Calls `each` with logits and labels of each batch in turn; one batch a thread, which takes fewer
/// waits than sharing each batch's operations.
fn forward(
    ask: &(dyn Fn(&Tensor) -> Result<Tensor> + Sync),
    batches: &[Batch],
    each: &mut Each<'_>,
) -> Result<()> {
    let one = |batch: &Batch| -> Result<(Vec<f32>, Vec<u32>)> {
        let logits = ask(&batch.images)?;
        Ok((logits.flatten_all()?.to_vec1()?, batch.labels.to_vec1()?))
    };
    let outputs = batches.par_iter().map(one).collect::<Result<Vec<_>>>()?;
    outputs.iter().for_each(|(logits, labels)| each(logits, labels));
    Ok(())
}

/// Batches of the given images; those of which no image can be read are left out.
fn assemble(source: &dyn BatchSource, batches: &[&[u32]]) -> Result<Vec<Batch>> {
    let batches = batches.par_iter().map(|indices| source.batch(0, indices));
    let mut batches = batches.collect::<Result<Vec<_>>>()?;
    batches.retain(|batch| !batch.indices.is_empty());
    Ok(batches)
}

/// Images of one forward pass.
fn batch_size(source: &dyn BatchSource) -> usize {
    let (n_images, n) = if source.device().is_cpu() { BATCH } else { GPU_BATCH };
    (n / n_values(source).max(1)).clamp(1, n_images)
}

/// Number of values of one image.
fn n_values(source: &dyn BatchSource) -> usize {
    source.image_shape().iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Dots, Network, bits};

    /// 450 images in five batches, the second of which cannot be read at all.
    fn source() -> Arc<Dots> {
        let dots = Dots::new(450);
        let mut bad = dots.order(0)[100..200].to_vec();
        bad.extend([7, 8, 300]);
        Arc::new(Dots { bad, ..dots })
    }

    fn everything(set: &EvalSet) -> (Vec<u32>, Vec<u32>, Evaluation, Vec<u32>) {
        let model = Network::new(1);
        let (logits, labels) = set.logits(&model).unwrap();
        let (alone, predictions) = set.evaluate_teacher(&model).unwrap();
        let (_, teacher) = set.evaluate_teacher(&Network::new(2)).unwrap();
        let evaluation = set.evaluate(&model, Some(&teacher)).unwrap();
        assert_eq!(evaluation, crate::score(&logits, &labels, 6, Some(&teacher)));
        assert_eq!(alone, crate::score(&logits, &labels, 6, None));
        (bits(&logits), labels, evaluation, predictions)
    }

    #[test]
    fn ranks_that_share_a_set_all_have_its_whole_score() {
        let source = source();
        let whole = EvalSet::new(source.clone()).unwrap().evaluate(&Network::new(1), None).unwrap();
        for n_ranks in [1, 2, 4, 8] {
            let shared = kd_core::collective::on_ranks(n_ranks, |ranks| {
                let (shards, set) = (Shards::new(8, ranks).unwrap(), EvalSet::new(source.clone()));
                set.unwrap().evaluate_shared(&Network::new(1), &shards).unwrap()
            });
            assert!(shared.unwrap().iter().all(|shared| *shared == whole), "{n_ranks} ranks");
        }
    }

    #[test]
    fn streaming_gives_the_same_bits_on_any_number_of_threads() {
        let source = source();
        let kept = everything(&EvalSet::new(source.clone()).unwrap());
        let n_bad = source.bad.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!((kept.2.total, kept.1.len()), (450 - n_bad, 450 - n_bad));
        for n_threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let set = EvalSet::keeping(source.clone(), 450 * 16 - 1).unwrap();
            assert!(set.kept.is_none() && set.n_images() == 450);
            assert_eq!(pool.install(|| everything(&set)), kept, "{n_threads} threads");
        }
        assert!(EvalSet::keeping(source.clone(), 450 * 16).unwrap().kept.is_some());
        let all = logits(&Network::new(1), &*source).unwrap();
        assert_eq!(bits(&all), kept.0);
    }
}
