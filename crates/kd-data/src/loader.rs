//! Batches from images in memory, or on a GPU.
//!
//! Key decision: a batch depends on `(stream, epoch, indices)` only. Threads write disjoint
//! images into one buffer, which becomes the tensor without another copy.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use kd_core::{Batch, BatchSource, Error, Result, Stream};

use crate::Images;
use crate::augment::{Augment, Augmenter};
use crate::resident::Resident;

/// Images that one task gathers and augments.
const GROUP: usize = 32;

/// Makes batches of [`Images`], pixels in `[0, 1]`.
#[derive(Debug, Clone)]
pub struct Loader {
    images: Arc<Images>,
    order: Order,
    augmenter: Augmenter,
    device: Device,
    /// The images on a GPU.
    resident: Option<Resident>,
}

/// How an epoch visits the images.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Natural,
    Shuffled(Stream),
}

impl Order {
    /// The indices of `n` images, in the order in which epoch `epoch` visits them.
    pub(crate) fn of(self, epoch: u64, n: usize) -> Vec<u32> {
        match self {
            Self::Natural => (0..n as u32).collect(),
            Self::Shuffled(stream) => stream.number(epoch).permutation(n as u32),
        }
    }
}

/// Refuses indices that are not below `n`.
pub(crate) fn check_indices(indices: &[u32], n: usize) -> Result<()> {
    match indices.iter().find(|&&i| i as usize >= n) {
        Some(i) => Err(Error::config("indices", format!("{i} is not below the {n} images"))),
        None => Ok(()),
    }
}

impl Loader {
    /// For training: another random order each epoch, images augmented.
    ///
    /// # Errors
    /// [`Error::Config`] when `augment` does not suit the images.
    pub fn new(images: Arc<Images>, augment: Augment, stream: Stream) -> Result<Self> {
        let order = Order::Shuffled(stream.at("shuffle"));
        let augmenter = Augmenter::new(augment, images.shape(), stream.at("augment"))?;
        Ok(Self { images, order, augmenter, device: Device::Cpu, resident: None })
    }

    /// For evaluation: the images as they are, in the order of the data set, each epoch alike.
    pub fn in_order(images: Arc<Images>) -> Self {
        let augmenter = Augmenter::none(images.shape());
        Self { images, order: Order::Natural, augmenter, device: Device::Cpu, resident: None }
    }

    /// Makes the batches on `device`; a GPU then holds all images.
    ///
    /// # Errors
    /// When they do not fit its memory.
    pub fn on(mut self, device: &Device) -> Result<Self> {
        let is_whole = self.augmenter.whole_pixels(0, 0).is_some();
        if !device.is_cpu() && is_whole {
            self.resident = Some(Resident::new(&self.images, device)?);
        }
        self.device = device.clone();
        Ok(self)
    }

    /// The images that batches are made from.
    pub fn images(&self) -> &Arc<Images> {
        &self.images
    }

    /// Writes the images at `indices`, as epoch `epoch` sees them, to `out`.
    fn write(&self, epoch: u64, indices: &[u32], out: &mut [f32]) {
        // Plain copies of all images first: their cache misses overlap, which halves the time.
        let gathered: Vec<&[u8]> = indices.iter().map(|&i| self.images.image(i as usize)).collect();
        let bytes = gathered.concat();
        let size = bytes.len() / indices.len();
        let images = bytes.chunks_exact(size).zip(out.chunks_exact_mut(size));
        for ((image, out), &index) in images.zip(indices) {
            self.augmenter.write(epoch, index, image, out);
        }
    }
}

impl BatchSource for Loader {
    fn n_samples(&self) -> usize {
        self.images.len()
    }

    fn n_classes(&self) -> usize {
        self.images.n_classes()
    }

    fn image_shape(&self) -> [usize; 3] {
        self.images.shape()
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        self.order.of(epoch, self.images.len())
    }

    fn batch(&self, epoch: u64, indices: &[u32]) -> Result<Batch> {
        check_indices(indices, self.images.len())?;
        let labels: Vec<u32> = indices.iter().map(|&i| self.images.labels()[i as usize]).collect();
        if let Some(resident) = &self.resident {
            let window = |&index| self.augmenter.whole_pixels(epoch, index);
            let windows: Vec<_> = indices.iter().filter_map(window).collect();
            return resident.batch(&windows, labels);
        }
        let [channels, height, width] = self.images.shape();
        let image_size = channels * height * width;
        let mut pixels = vec![0.0; indices.len() * image_size];
        pixels
            .par_chunks_mut(GROUP * image_size)
            .zip(indices.par_chunks(GROUP))
            .for_each(|(out, indices)| self.write(epoch, indices, out));
        let n = indices.len();
        Ok(Batch {
            images: Tensor::from_vec(pixels, (n, channels, height, width), &self.device)?,
            labels: Tensor::from_vec(labels, n, &self.device)?,
            indices: indices.to_vec(),
        })
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn n_views(&self) -> Option<usize> {
        self.augmenter.n_views()
    }

    fn view(&self, epoch: u64, index: u32) -> usize {
        self.augmenter.view(epoch, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, Elastic};

    /// 100 images of `[2, 6, 6]` with random pixels, labels i % 10.
    fn images() -> Arc<Images> {
        let mut rng = Stream::new(9).rng();
        let pixels = (0..100 * 72).map(|_| rng.below(256) as u8).collect();
        Arc::new(Images::new(pixels, (0..100).map(|i| i % 10).collect(), [2, 6, 6], 10).unwrap())
    }

    fn everything() -> Augment {
        Augment {
            crop_padding: 2,
            affine: Some(Affine { rotation: 20.0, ..Affine::default() }),
            elastic: Some(Elastic::default()),
            flip: true,
            ..Augment::default()
        }
    }

    fn bits(loader: &Loader, epoch: u64, indices: &[u32]) -> Vec<u32> {
        let images = loader.batch(epoch, indices).unwrap().images;
        images.flatten_all().unwrap().to_vec1().unwrap().into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_batch_in_order_is_the_images() {
        let loader = Loader::in_order(images());
        let batch = loader.batch(5, &[3, 99]).unwrap();
        assert_eq!(batch.images.dims(), [2, 2, 6, 6]);
        assert_eq!(batch.labels.to_vec1::<u32>().unwrap(), [3, 9]);
        assert_eq!(batch.indices, [3, 99]);
        let got = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, &byte) in images().image(99).iter().enumerate() {
            assert_eq!(got[72 + i].to_bits(), (f32::from(byte) / 255.0).to_bits());
        }
        assert_eq!(loader.order(7), (0..100).collect::<Vec<_>>());
        assert_eq!((loader.n_samples(), loader.n_classes()), (100, 10));
        assert_eq!(loader.image_shape(), [2, 6, 6]);
    }

    #[test]
    fn each_epoch_visits_each_image_once_in_its_own_order() {
        let stream = Stream::new(1);
        let loader = Loader::new(images(), Augment::default(), stream).unwrap();
        assert_ne!(loader.order(1), loader.order(2));
        assert_eq!(loader.order(1), loader.order(1));
        let mut order = loader.order(1);
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_bits_do_not_depend_on_threads_or_on_the_rest_of_the_batch() {
        for augment in [everything(), Augment { crop_padding: 2, ..Augment::default() }] {
            let loader = Loader::new(images(), augment, Stream::new(1)).unwrap();
            let order = loader.order(1);
            let with_threads = |n| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
                pool.install(|| bits(&loader, 1, &order))
            };
            let whole = with_threads(1);
            assert_eq!(whole, with_threads(2));
            let alone: Vec<u32> = order.iter().flat_map(|&i| bits(&loader, 1, &[i])).collect();
            assert_eq!(whole, alone);
            assert_ne!(whole, bits(&loader, 2, &order));
        }
    }

    #[test]
    fn a_gpu_makes_the_same_bits() {
        let Some(device) = kd_core::testing::gpu() else { return };
        let crops = Augment { crop_padding: 2, flip: true, ..Augment::default() };
        for augment in [Augment::default(), crops, everything()] {
            let loader = Loader::new(images(), augment, Stream::new(1)).unwrap();
            let order = loader.order(1);
            let want = bits(&loader, 1, &order);
            let labels =
                |loader: &Loader| loader.batch(1, &order).unwrap().labels.to_vec1::<u32>().unwrap();
            let own = labels(&loader);
            let loader = loader.on(&device).unwrap();
            assert_eq!((bits(&loader, 1, &order), labels(&loader)), (want, own));
        }
    }

    #[test]
    fn unsuitable_settings_and_indices_are_refused() {
        let new = |augment| Loader::new(images(), augment, Stream::new(1));
        assert!(new(Augment { crop_padding: 6, ..Augment::default() }).is_err());
        let loader = new(Augment::default()).unwrap();
        assert!(matches!(loader.batch(1, &[0, 100]), Err(Error::Config { .. })));
        assert_eq!(loader.batch(1, &[]).unwrap().images.dims(), [0, 2, 6, 6]);
    }
}
