//! Batches of photographs, from file to tensor.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use kd_core::{BatchSource, Error, Result, Stream};
use kd_data::{Augment, PackSettings, Packer, PhotoLoader, Photos, ResizedCrop};
use rayon::prelude::*;

use crate::cnn::clock;

/// Photographs of a batch, as in the paper.
pub(crate) const PHOTO_BATCH_SIZE: usize = 32;
/// Batches of a group.
const GROUP: usize = 4;

/// Milliseconds of a training batch of the photographs in `folder`: random crops, mirrored images.
pub(crate) fn photo_batches(folder: Option<&Path>, n_passes: usize) -> Result<Vec<f64>> {
    train(open(folder)?, n_passes)
}

/// Milliseconds of an evaluation batch: the center.
pub(crate) fn photo_centers(folder: Option<&Path>, n_passes: usize) -> Result<Vec<f64>> {
    passes(&PhotoLoader::in_order(Arc::new(open(folder)?)), n_passes)
}

/// As [`photo_batches`], from a pack of these photographs that is made before.
pub(crate) fn packed_photo_batches(folder: Option<&Path>, n_passes: usize) -> Result<Vec<f64>> {
    let scratch = tempfile::tempdir().map_err(Error::io(std::env::temp_dir(), "create"))?;
    let pack = scratch.path().join("pack");
    Packer::new(open(folder)?, &pack, PackSettings::default())?.finish()?;
    train(Photos::packed(&pack)?, n_passes)
}

fn train(photos: Photos, n_passes: usize) -> Result<Vec<f64>> {
    let resized_crop = Some(ResizedCrop::default());
    let augment = Augment { flip: true, resized_crop, ..Augment::default() };
    let loader = PhotoLoader::new(Arc::new(photos), augment, Stream::new(0))?;
    passes(&loader, n_passes)
}

/// Opens the folder that `--photos` names.
fn open(folder: Option<&Path>) -> Result<Photos> {
    let reason = "this case needs a folder of class folders with photographs, or a pack";
    Photos::open(folder.ok_or_else(|| Error::config("photos", reason))?)
}

/// Each sample is the mean of one pass over the photographs, since they differ in size. Batches
/// are made side by side in groups, as for a training.
fn passes(loader: &PhotoLoader, n_passes: usize) -> Result<Vec<f64>> {
    let n_batches = (loader.n_samples() / PHOTO_BATCH_SIZE).max(1);
    let samples = clock(n_passes, &Device::Cpu, |pass| {
        let order = loader.order(pass as u64);
        let batches: Vec<&[u32]> = order.chunks(PHOTO_BATCH_SIZE).take(n_batches).collect();
        let batch = |indices: &&[u32]| loader.batch(pass as u64, indices).map(drop);
        batches.chunks(GROUP).try_for_each(|group| group.par_iter().try_for_each(batch))
    })?;
    Ok(samples.into_iter().map(|milliseconds| milliseconds / n_batches as f64).collect())
}
