//! Small data sets in files.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kd_data::idx::Idx;
use kd_data::{Dataset, Images, SyntheticDigits, SyntheticPhotos};

pub(crate) const TRAIN_IMAGES: &str = "train-images-idx3-ubyte.gz";
pub(crate) const TRAIN_LABELS: &str = "train-labels-idx1-ubyte.gz";

/// Writes synthetic digits as the four files of MNIST, packed by gzip.
pub(crate) fn write_mnist(folder: &Path, n_train: usize, n_test: usize) {
    fs::create_dir_all(folder).unwrap();
    let splits = SyntheticDigits { n_train, n_test, seed: 0 }.load(None).unwrap();
    for (part, images) in [("train", &splits.train), ("t10k", &splits.test)] {
        let path = |kind: &str| folder.join(format!("{part}-{kind}-ubyte.gz"));
        fs::write(path("images-idx3"), gzip(&image_file(images))).unwrap();
        let labels: Vec<u8> = images.labels().iter().map(|&label| label as u8).collect();
        fs::write(path("labels-idx1"), gzip(&label_file(&labels))).unwrap();
    }
}

fn image_file(images: &Images) -> Vec<u8> {
    Idx::new(&[images.len(), 28, 28], images.pixels()).unwrap().content().to_vec()
}

/// The content of a file of labels.
pub(crate) fn label_file(labels: &[u8]) -> Vec<u8> {
    Idx::new(&[labels.len()], labels).unwrap().content().to_vec()
}

/// Packs `content`.
pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A folder `photos` with drawn photographs of two classes in `train` and `val`.
pub(crate) fn draw_photographs(at: &Path, n_train: usize, n_test: usize) {
    let photos = SyntheticPhotos { n_classes: 2, n_train, n_test, ..Default::default() };
    photos.parts(Some(at)).unwrap();
    let folder = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    fs::rename(folder, at.join("photos")).unwrap();
}
