//! Synthetic data sets: made from a seed as files of a real format, kept between runs, and read
//! by the reader of that format, so that what runs on them runs on real data.

mod digits;
mod kept;
mod math;
mod objects;
mod photos;
mod scene;

pub use digits::SyntheticDigits;
pub use objects::SyntheticObjects;
pub use photos::SyntheticPhotos;
