//! ImageNet's archives, lists of labels and images, made up: for tests, here and in other crates, and
//! for rehearsals.

pub use crate::imagenet::fake::{archive, flat, image, train_archive};
pub use crate::imagenet::labels::fake::{labels, write as write_labels};
