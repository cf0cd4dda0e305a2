//! Pieces of work to be timed, for comparison with the same work elsewhere: what `kd bench` does.
//! Each gives the milliseconds of its samples.
//!
//! Images are random bytes: arithmetic takes the same time on any pixels. Steps go round over
//! batches assembled before, so that nothing is learnt by heart.

mod cnn;
mod mlp;
mod photos;

use std::sync::Arc;

use kd_core::{Result, Stream};
use kd_data::{Augment, Images, Loader};

pub use cnn::{CIFAR, CIFAR_IMAGES, MNIST, PHOTOGRAPHS, batches, evaluations, steps};
pub use mlp::{Mlps, N_EPOCH_IMAGES, mlps};
pub use photos::{PHOTO_BATCH_SIZE, packed_photo_batches, photo_batches, photo_centers};

/// Images of a training step.
pub const BATCH_SIZE: usize = 128;

/// Batches of random images.
fn loader(n_images: usize, shape: [usize; 3], augment: Augment) -> Result<Loader> {
    let mut rng = Stream::new(0).at("bench").rng();
    let n_pixels = n_images * shape.iter().product::<usize>();
    let pixels = (0..n_pixels).map(|_| rng.next_u32() as u8).collect();
    let labels = (0..n_images).map(|_| rng.below(10)).collect();
    let images = Images::new(pixels, labels, shape, 10)?;
    Loader::new(Arc::new(images), augment, Stream::new(0))
}
