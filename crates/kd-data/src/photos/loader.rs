//! Batches from photographs in files.
//!
//! Key decision: as in memory, a batch depends on `(stream, epoch, indices)` only. Each photograph
//! is one task, from reading to pixels in `[0, 1]`, and writes its own part of the tensor.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use kd_core::rng::Rng;
use kd_core::{Batch, BatchSource, Result, Stream};
use rayon::prelude::*;

use super::{Photos, View};
use crate::Augment;
use crate::loader::{Order, check_indices};
use crate::mixup::Pair;
use crate::pixels::pixel;

/// Makes batches of [`Photos`] in host memory.
///
/// A photograph that its policy skips is missing from the batch, which then has fewer rows,
/// labels and indices than were asked for, maybe none.
#[derive(Debug, Clone)]
pub struct PhotoLoader {
    photos: Arc<Photos>,
    order: Order,
    augment: Augment,
    stream: Stream,
}

impl PhotoLoader {
    /// For training: another random order each epoch, photographs augmented.
    ///
    /// # Errors
    /// [`kd_core::Error::Config`] when `augment` does not suit photographs.
    pub fn new(photos: Arc<Photos>, augment: Augment, stream: Stream) -> Result<Self> {
        augment.check_photos()?;
        let order = Order::Shuffled(stream.at("shuffle"));
        Ok(Self { photos, order, augment, stream: stream.at("augment") })
    }

    /// For evaluation: the center of each photograph, in the order of the data set, each epoch
    /// alike.
    pub fn in_order(photos: Arc<Photos>) -> Self {
        let (augment, stream) = (Augment::default(), Stream::new(0));
        Self { photos, order: Order::Natural, augment, stream }
    }

    /// The photographs that batches are made from.
    pub fn photos(&self) -> &Arc<Photos> {
        &self.photos
    }

    /// `[top, left, height, width]` of the part of photograph `index` that epoch `epoch` shows, and
    /// whether it is flipped; for comparisons with other programs. Without random crops the part is
    /// all of it.
    ///
    /// # Errors
    /// As [`Photos::bytes`]; [`kd_core::Error::Parse`] when its header cannot be read.
    ///
    /// # Panics
    /// When `index` is not below the number of photographs.
    pub fn part(&self, epoch: u64, index: u32) -> Result<([usize; 4], bool)> {
        let size = self.photos.size(index as usize)?;
        let View { region, flip, .. } = self.look(epoch, index, size);
        Ok(([region.top, region.left, region.height, region.width], flip))
    }

    /// `[top, left, height, width]` of what is cut out of photograph `index` for version `view`, in its pixels,
    /// and of what is resized then, in pixels of that; and whether it is flipped.
    pub(crate) fn geometry(&self, view: usize, index: u32) -> Result<([usize; 4], [f64; 4], bool)> {
        let size = self.photos.size(index as usize)?;
        let View { region, window, flip } = self.version(view, index, size);
        Ok(([region.top, region.left, region.height, region.width], window, flip))
    }

    /// Version `view` of photograph `index`, rows of one or three bytes a pixel; none when it is skipped.
    pub(crate) fn pixels(&self, view: usize, index: u32) -> Result<Option<Vec<u8>>> {
        let look = |size| self.version(view, index, size);
        let Some((image, View { flip, .. })) = self.photos.image(index as usize, look)? else {
            return Ok(None);
        };
        let [channels, _, width] = self.photos.shape();
        let mut rows: Vec<&[[u8; 3]]> = image.as_chunks::<3>().0.chunks_exact(width).collect();
        let pixels = rows.iter_mut().flat_map(|row| {
            (0..width).flat_map(move |x| {
                let pixel = if flip { row[width - 1 - x] } else { row[x] };
                pixel.into_iter().take(channels)
            })
        });
        Ok(Some(pixels.collect()))
    }

    /// Where version `view`, as [`BatchSource::view`] numbers them, is in a photograph of `size`.
    fn version(&self, view: usize, index: u32, size: [usize; 2]) -> View {
        match self.augment.resized_crop {
            Some(_) => self.look(view as u64, index, size),
            None => View::center(size, self.photos.resize, self.photos.crop, view == 1),
        }
    }

    fn rng(&self, epoch: u64, index: u32) -> Rng {
        self.drawn(epoch).number(u64::from(index)).rng()
    }

    /// What everything in epoch `epoch` is drawn from.
    fn drawn(&self, epoch: u64) -> Stream {
        let n_views = self.augment.resized_crop.as_ref().and_then(|crop| crop.n_views);
        match n_views {
            Some(n) => Stream::new(0).at("views").number(epoch % n as u64),
            None => self.stream.number(epoch),
        }
    }

    /// What photograph `index` is mixed with in epoch `epoch`, each as that epoch shows it.
    pub(crate) fn pair(&self, epoch: u64, index: u32) -> Option<Pair> {
        let mixup = self.augment.mixup.as_ref()?;
        let mut rng = self.drawn(epoch).at("mixup").number(u64::from(index)).rng();
        Some(mixup.pair(self.photos.len(), &mut rng))
    }

    fn flip(&self, rng: &mut Rng) -> bool {
        self.augment.flip && rng.below(2) == 1
    }

    fn look(&self, epoch: u64, index: u32, size: [usize; 2]) -> View {
        let mut rng = self.rng(epoch, index);
        let flip = self.flip(&mut rng);
        match &self.augment.resized_crop {
            Some(crop) => View::cut(crop.draw(size, &mut rng), flip),
            None => View::center(size, self.photos.resize, self.photos.crop, flip),
        }
    }

    /// Writes photograph `index` as epoch `epoch` sees it to `out`; false when it is skipped, or the one that
    /// it is mixed with.
    fn write(&self, epoch: u64, index: u32, out: &mut [f32]) -> Result<bool> {
        let (is_there, pair) = (self.write_alone(epoch, index, out)?, self.pair(epoch, index));
        let Some(pair) = pair.filter(|_| is_there) else { return Ok(is_there) };
        let mut partner = vec![0.0; out.len()];
        let is_there = self.write_alone(epoch, pair.partner, &mut partner)?;
        pair.mix(out, &partner);
        Ok(is_there)
    }

    fn write_alone(&self, epoch: u64, index: u32, out: &mut [f32]) -> Result<bool> {
        let look = |size| self.look(epoch, index, size);
        let Some((image, view)) = self.photos.image(index as usize, look)? else {
            return Ok(false);
        };
        planes(&image, self.photos.crop, view.flip, out);
        Ok(true)
    }
}

/// Rows of RGB bytes become planes of pixels.
pub(super) fn planes(image: &[u8], side: usize, flip: bool, out: &mut [f32]) {
    for (c, plane) in out.chunks_exact_mut(side * side).enumerate() {
        let rows = image.as_chunks::<3>().0.chunks_exact(side);
        for (from, to) in rows.zip(plane.chunks_exact_mut(side)) {
            to.iter_mut().zip(from).for_each(|(to, rgb)| *to = pixel(rgb[c]));
            if flip {
                to.reverse();
            }
        }
    }
}

/// Moves the images that are `kept` to the front, in their order.
fn compact(pixels: &mut Vec<f32>, image_size: usize, kept: &[bool]) {
    let kept: Vec<usize> = (0..kept.len()).filter(|&i| kept[i]).collect();
    for (to, from) in kept.iter().enumerate() {
        pixels.copy_within(from * image_size..(from + 1) * image_size, to * image_size);
    }
    pixels.truncate(kept.len() * image_size);
}

impl BatchSource for PhotoLoader {
    fn n_samples(&self) -> usize {
        self.photos.len()
    }

    fn n_classes(&self) -> usize {
        self.photos.n_classes()
    }

    fn image_shape(&self) -> [usize; 3] {
        self.photos.shape()
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        self.order.of(epoch, self.photos.len())
    }

    fn batch(&self, epoch: u64, indices: &[u32]) -> Result<Batch> {
        check_indices(indices, self.photos.len())?;
        let [channels, height, width] = self.photos.shape();
        let image_size = channels * height * width;
        let mut pixels = vec![0.0; indices.len() * image_size];
        let images = pixels.par_chunks_exact_mut(image_size).zip(indices).with_max_len(1);
        let kept: Vec<Result<bool>> =
            images.map(|(out, &index)| self.write(epoch, index, out)).collect();
        // The first fault in the order of the indices, so that it does not depend on threads.
        let kept: Vec<bool> = kept.into_iter().collect::<Result<_>>()?;
        compact(&mut pixels, image_size, &kept);
        let indices: Vec<u32> =
            indices.iter().zip(kept).filter_map(|(&i, kept)| kept.then_some(i)).collect();
        let labels: Vec<u32> = indices.iter().map(|&i| self.photos.labels()[i as usize]).collect();
        let n = indices.len();
        Ok(Batch {
            images: Tensor::from_vec(pixels, (n, channels, height, width), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, n, &Device::Cpu)?,
            indices,
        })
    }

    fn mixes(&self) -> bool {
        self.augment.mixup.is_some()
    }

    fn n_views(&self) -> Option<usize> {
        match &self.augment.resized_crop {
            Some(crop) => crop.n_views,
            None if self.augment.mixup.is_some() => None,
            None => Some(1 + usize::from(self.augment.flip)),
        }
    }

    fn view(&self, epoch: u64, index: u32) -> usize {
        match &self.augment.resized_crop {
            Some(crop) => crop.n_views.map_or(0, |n| (epoch % n as u64) as usize),
            None => usize::from(self.flip(&mut self.rng(epoch, index))),
        }
    }
}
