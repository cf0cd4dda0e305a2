//! Synthetic handwritten digits of MNIST's shape, made from a seed, for use without any data.
//!
//! Key decision: they are made as IDX files, and read as MNIST is. They are distorted, noisy and
//! cluttered enough that a network of 30 units falls well behind one of 1200.

mod glyphs;
mod pen;

use std::path::Path;

use kd_core::ops::Normalize;
use kd_core::{Result, Stream, in_range};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::kept;
use crate::idx::{self, Idx};
use crate::mnist::CLASS_NAMES;
use crate::{Dataset, Images, Splits};

/// Height and width of an image, pixels.
const SIDE: usize = 28;
const N_CLASSES: usize = 10;
/// The most images of one part, far below what an IDX file may hold.
const MAX_IMAGES: usize = 300_000;
/// Part of the cache folder's name: raise it when the images of a seed change.
const VERSION: u32 = 1;

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Mean of the default training pixels in `[0, 1]`.
const MEAN: f32 = 0.1169;
/// Standard deviation of the default training pixels in `[0, 1]`.
const STD: f32 = 0.2559;

/// Procedurally drawn digits; the first images of a larger set are those of a smaller one.
///
/// Difficulty, measured once in PyTorch on the default set (Adam, batches of 128, random crops
/// with padding 2): 784-30-30-10 has 95.3 % of the test images right after 12 epochs,
/// 784-1200-1200-10 (dropout) 98.6 % after 3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticDigits {
    /// Number of training images, at least 1.
    pub n_train: usize,
    /// Number of test images, at least 1.
    pub n_test: usize,
    /// Which digits.
    pub seed: u64,
}

impl Default for SyntheticDigits {
    fn default() -> Self {
        Self { n_train: 60_000, n_test: 10_000, seed: 0 }
    }
}

impl Dataset for SyntheticDigits {
    /// With a `dir`, keeps the files in a folder below it and reads them from there the next
    /// time, if they are intact.
    fn load(&self, dir: Option<&Path>) -> Result<Splits> {
        in_range("n_train", self.n_train, 1, MAX_IMAGES)?;
        in_range("n_test", self.n_test, 1, MAX_IMAGES)?;
        let folder = dir.map(|dir| dir.join(self.folder_name()));
        let sizes = [self.n_train, self.n_test];
        kept::load(folder.as_deref(), FILES, sizes, || self.draw(), decode)
    }

    fn normalize(&self) -> Normalize {
        Normalize { mean: vec![MEAN], std: vec![STD] }
    }

    fn is_synthetic(&self) -> bool {
        true
    }
}

impl SyntheticDigits {
    fn folder_name(&self) -> String {
        let Self { n_train, n_test, seed } = self;
        format!("synthetic-digits-v{VERSION}-{n_train}-{n_test}-{seed}")
    }

    /// The content of the four files.
    fn draw(&self) -> Result<[Vec<u8>; 4]> {
        let stream = Stream::new(self.seed).at("synthetic-digits");
        let [images, labels] = draw(self.n_train, stream.at("train"))?;
        let [test_images, test_labels] = draw(self.n_test, stream.at("t10k"))?;
        Ok([images, labels, test_images, test_labels])
    }
}

/// The contents of the files of `n` digits, each drawn from its own stream, on all threads.
fn draw(n: usize, stream: Stream) -> Result<[Vec<u8>; 2]> {
    let (mut pixels, mut labels) = (vec![0; n * SIDE * SIDE], vec![0; n]);
    let images = pixels.par_chunks_exact_mut(SIDE * SIDE).zip(&mut labels).enumerate();
    images.for_each(|(i, (image, label))| {
        let (digit, drawn) = pen::draw(stream.number(i as u64));
        image.copy_from_slice(&drawn);
        *label = digit;
    });
    let images = Idx::new(&[n, SIDE, SIDE], &pixels)?;
    Ok([images, Idx::new(&[n], &labels)?].map(|file| file.content().to_vec()))
}

/// The images, by way of the reader.
fn decode([images, labels, test_images, test_labels]: &[Vec<u8>; 4]) -> Result<Splits> {
    let part = |names: &[&str], images: &[u8], labels: &[u8]| -> Result<Images> {
        let [images_path, labels_path] = [names[0], names[1]].map(Path::new);
        let images = (images_path, Idx::decode(images_path, images, 3)?);
        let labels = (labels_path, Idx::decode(labels_path, labels, 1)?);
        Ok(idx::join(images, labels, [SIDE; 2], N_CLASSES)?.with_class_names(CLASS_NAMES))
    };
    let (train, test) =
        (part(&FILES, images, labels)?, part(&FILES[2..], test_images, test_labels)?);
    Ok(Splits { train, test, official: false })
}

#[cfg(test)]
mod tests {
    use kd_core::{Error, fsx};

    use super::*;

    fn digits(seed: u64) -> SyntheticDigits {
        SyntheticDigits { n_train: 300, n_test: 50, seed }
    }

    #[test]
    fn images_depend_on_the_seed_alone_and_are_the_same_everywhere() {
        let splits = digits(0).load(None).unwrap();
        let sums = kept::sums(&splits);
        assert_eq!(
            fsx::sha256(sums.as_bytes()),
            "bd3958d5e0247705063970bdcb835c55092ed3fc1756dbcb9c93128ee129d41a",
            "{sums}"
        );
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one_thread.install(|| digits(0).load(None)).unwrap(), splits);
        let other = digits(1).load(None).unwrap();
        assert_ne!(other.train.files()[0].sha256, splits.train.files()[0].sha256);
    }

    #[test]
    fn a_smaller_set_is_the_beginning_of_a_larger_and_train_and_test_differ() {
        let large = digits(0).load(None).unwrap();
        let small = SyntheticDigits { n_train: 50, ..digits(0) }.load(None).unwrap();
        assert_eq!(small.train.pixels(), &large.train.pixels()[..50 * 784]);
        assert_ne!(small.train.pixels(), small.test.pixels());
    }

    #[test]
    fn the_classes_are_even() {
        let set = SyntheticDigits { n_train: 5000, ..digits(0) }.load(None).unwrap().train;
        for class in 0..10 {
            let count = set.labels().iter().filter(|&&label| label == class).count();
            assert!((420..580).contains(&count), "{count} of class {class}");
        }
    }

    #[test]
    fn impossible_sizes_and_folders_are_refused() {
        let load = |n_train, n_test| SyntheticDigits { n_train, n_test, seed: 0 }.load(None);
        assert!(load(0, 1).is_err() && load(1, 0).is_err() && load(MAX_IMAGES + 1, 1).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(digits(0).load(Some(file.path())), Err(Error::Io { .. })));
    }
}
