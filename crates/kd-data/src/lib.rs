//! Data sets: strict file readers, synthetic images, augmentation, and the loader of batches.
//!
//! Key decision: a data set lies in memory as bytes ([`Images`]), and a batch is a pure function
//! of `(stream, epoch, indices)` made from it: the same bits for any number of threads, nothing
//! to save for an exact resume but the epoch and the step. Loaders deliver pixels in `[0, 1]`; a
//! network normalizes them in its graph, and [`Dataset::normalize`] says how a new one should.
//!
//! What it deliberately does not do: nothing is downloaded here; a reader that finds no data says
//! what belongs where.

mod archive;
mod augment;
#[cfg(feature = "candle-datasets")]
mod candle;
pub mod cifar10;
mod decode;
mod finding;
mod folder;
pub mod idx;
pub mod imagenet;
mod images;
mod listing;
mod loader;
pub mod mnist;
mod part;
mod photo_folder;
mod photos;
mod pixels;
mod resident;
mod spec;
mod sums;
mod synthetic;
mod warp;

pub use augment::{Affine, Augment};
#[cfg(feature = "candle-datasets")]
pub use candle::from_candle;
pub use cifar10::Cifar10;
pub use finding::{Fault, Finding};
pub use folder::Folder;
pub use images::Images;
pub use loader::Loader;
pub use mnist::Mnist;
pub use part::Part;
pub use photo_folder::PhotoFolder;
pub use photos::{OnBadImage, PackSettings, Packed, Packer, PhotoLoader, Photos, ResizedCrop};
pub use spec::{DataSpec, Dataset, Parts, Split, Splits};
pub use sums::Checksums;
pub use synthetic::{SyntheticDigits, SyntheticObjects, SyntheticPhotos};
pub use warp::Elastic;
