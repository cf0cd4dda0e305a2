//! What the teacher says of a batch.
//!
//! Key decision: a teacher's logits on an image depend on nothing but the image, bit for bit. Where
//! an epoch shows an image as an earlier one did (random crops of MNIST's images have 25 versions),
//! they are looked up: over 65 epochs two thirds of the teacher's work is saved.

use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;
use kd_core::{Batch, BatchSource, Classifier, Mode, Result};

/// Logits that are kept at most, 256 MiB.
const MAX_KEPT: usize = 1 << 26;

/// A teacher that remembers.
pub(crate) struct Teacher<'a> {
    model: &'a dyn Classifier,
    source: &'a dyn BatchSource,
    kept: Option<Mutex<Kept>>,
}

/// One row of logits for each version of each image; NaN until they are known.
struct Kept {
    n_views: usize,
    logits: Vec<f32>,
}

impl<'a> Teacher<'a> {
    /// Remembers where each version of an image of `source` will be seen more than once in
    /// `n_epochs`, on average, and the memory is small.
    pub(crate) fn new(
        model: &'a dyn Classifier,
        source: &'a dyn BatchSource,
        n_epochs: u64,
    ) -> Self {
        let kept = source.n_views().filter(|&n_views| (n_views as u64) < n_epochs);
        let kept = kept.and_then(|n_views| {
            let len = source.n_samples().checked_mul(n_views)?.checked_mul(model.n_classes())?;
            (len <= MAX_KEPT).then(|| Mutex::new(Kept { n_views, logits: vec![f32::NAN; len] }))
        });
        Self { model, source, kept }
    }

    /// The logits of `batch`, which epoch `epoch` shows.
    pub(crate) fn logits(&self, epoch: u64, batch: &Batch) -> Result<Tensor> {
        let Some(kept) = &self.kept else {
            return self.model.forward(&batch.images, Mode::Eval);
        };
        let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let n_classes = self.model.n_classes();
        let n_views = lock().n_views;
        let place =
            |index: &u32| (*index as usize * n_views + self.source.view(epoch, *index)) * n_classes;
        let places: Vec<usize> = batch.indices.iter().map(place).collect();
        let known = |logits: &[f32]| -> Vec<u32> {
            let unknown = |&row: &usize| logits[places[row]].is_nan();
            (0..places.len()).filter(unknown).map(|row| row as u32).collect()
        };
        let unknown = known(&lock().logits);
        let computed = self.forward(&batch.images, &unknown)?;
        let mut kept = lock();
        for (row, logits) in unknown.iter().zip(computed.chunks_exact(n_classes)) {
            kept.logits[places[*row as usize]..][..n_classes].copy_from_slice(logits);
        }
        let rows = places.iter().flat_map(|&place| &kept.logits[place..place + n_classes]);
        let rows: Vec<f32> = rows.copied().collect();
        Ok(Tensor::from_vec(rows, (places.len(), n_classes), batch.images.device())?)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::Device;
    use kd_core::ops::Activation;
    use kd_core::{Linear, Params, Stream};

    use super::*;

    /// Six images of four pixels, each in three versions that change from epoch to epoch.
    struct Source;

    impl BatchSource for Source {
        fn n_samples(&self) -> usize {
            6
        }

        fn n_classes(&self) -> usize {
            5
        }

        fn image_shape(&self) -> [usize; 3] {
            [1, 2, 2]
        }

        fn order(&self, _: u64) -> Vec<u32> {
            (0..6).collect()
        }

        fn batch(&self, epoch: u64, indices: &[u32]) -> Result<Batch> {
            let pixel =
                |i: u32, pixel: usize| (i as usize * 20 + self.view(epoch, i) * 5 + pixel) as f32;
            let images = indices.iter().flat_map(|&i| (0..4).map(move |k| pixel(i, k).sin()));
            let images =
                Tensor::from_vec(images.collect(), (indices.len(), 1, 2, 2), &Device::Cpu)?;
            let labels = Tensor::new(indices, &Device::Cpu)?;
            Ok(Batch { images, labels, indices: indices.to_vec() })
        }

        fn n_views(&self) -> Option<usize> {
            Some(3)
        }

        fn view(&self, epoch: u64, index: u32) -> usize {
            (epoch as usize * 2 + index as usize) % 3
        }
    }

    /// A linear network that counts the images that it sees.
    struct Counting {
        linear: Linear,
        params: Params,
        n_seen: AtomicUsize,
    }

    impl Counting {
        fn new() -> Self {
            let mut params = Params::default();
            let stream = Stream::new(1);
            let linear = Linear::new(&mut params, "fc", (4, 5), stream, &Device::Cpu).unwrap();
            Self { linear, params, n_seen: AtomicUsize::new(0) }
        }
    }

    impl Classifier for Counting {
        fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
            self.n_seen.fetch_add(images.dims()[0], Ordering::Relaxed);
            self.linear.forward(&images.flatten_from(1)?, Activation::Identity, mode)
        }

        fn features(&self, x: &Tensor, mode: Mode) -> Result<(Tensor, BTreeMap<String, Tensor>)> {
            Ok((self.forward(x, mode)?, BTreeMap::new()))
        }

        fn n_classes(&self) -> usize {
            5
        }

        fn params(&self) -> &Params {
            &self.params
        }
    }

    /// The logits of four epochs, and how many images the network has seen for them.
    fn four_epochs(n_epochs: u64) -> (Vec<Vec<f32>>, usize) {
        let model = Counting::new();
        let teacher = Teacher::new(&model, &Source, n_epochs);
        let batches = (0..4).flat_map(|epoch| [[3, 0, 5], [1, 2, 4]].map(|rows| (epoch, rows)));
        let logits = batches.map(|(epoch, rows)| {
            let batch = Source.batch(epoch, &rows).unwrap();
            let logits = teacher.logits(epoch, &batch).unwrap();
            assert_eq!(logits.dims(), [3, 5]);
            logits.flatten_all().unwrap().to_vec1().unwrap()
        });
        (logits.collect(), model.n_seen.load(Ordering::Relaxed))
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
