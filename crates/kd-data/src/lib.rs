#![doc = include_str!("../README.md")]

mod archive;
mod augment;
#[cfg(feature = "candle-datasets")]
mod candle;
mod cifar;
pub mod cifar10;
pub mod cifar100;
mod corrupt;
mod dataset;
mod decode;
pub mod divide;
mod finding;
mod folder;
#[cfg(test)]
mod fuzz;
pub mod idx;
mod idx_files;
pub mod imagenet;
mod images;
mod listing;
mod loader;
mod mixup;
pub mod mnist;
mod part;
mod photo_folder;
mod photos;
mod pixels;
mod resident;
mod spec;
mod sums;
mod synthetic;
pub mod testing;
mod views;
mod warp;

pub use augment::{Affine, Augment};
#[cfg(feature = "candle-datasets")]
pub use candle::from_candle;
pub use cifar10::Cifar10;
pub use cifar100::{Cifar100, Labels as Cifar100Labels};
pub use corrupt::Corruption;
pub use dataset::{Dataset, Parts, Split, Splits};
pub use finding::{Fault, Finding, refuse_told};
pub use folder::Folder;
pub use idx_files::IdxFiles;
pub use images::Images;
pub use listing::part_names;
pub use loader::Loader;
pub use mixup::Mixup;
pub use mnist::Mnist;
pub use part::Part;
pub use photo_folder::PhotoFolder;
pub use photos::{
    OnBadImage, PackSettings, PackSummary, Packed, Packer, PhotoLoader, Photos, ResizedCrop,
    photograph, pictures_in,
};
pub use spec::DataSpec;
pub use sums::{Checksums, Summed};
pub use synthetic::{SyntheticDigits, SyntheticObjects, SyntheticPhotos};
pub use views::{ListHeader, ListedView, Views, list_digest};
pub use warp::Elastic;
