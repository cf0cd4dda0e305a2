//! ImageNet's validation set (ILSVRC2012): sorted into class folders, and back.
//!
//! Published, the 50,000 validation images lie unsorted in one archive, with their labels
//! elsewhere; loaders want one folder per class, as the training images have it. Scripts that
//! move them check nothing: an image that is missing shifts all later labels or goes unnoticed,
//! and what was interrupted cannot be told from what is finished.
//!
//! Key decision: nothing is changed until everything was checked, and what was interrupted is
//! always in a folder of another name, with a journal in it.
//!
//! What it deliberately does not do: nothing is downloaded, decoded or repaired; a source is
//! never changed, but by [`Mode::Move`].

pub(crate) mod disk;
pub(crate) mod fake;
mod flat;
mod head;
mod journal;
pub mod labels;
mod made;
mod mode;
mod organize;
pub(crate) mod root;
mod source;
mod space;
mod tarball;
mod train;
mod tree;
mod undo;
mod verify;

use std::collections::BTreeMap;

pub use self::disk::Watch;
pub use self::made::Made;
pub use self::mode::Mode;
pub use self::organize::{Organize, Organized};
pub use self::train::{Unpack, Unpacked};
pub use self::undo::{Undone, undo};
pub use self::verify::{Verdict, verify};

/// The class of each image, by its number.
type Wnids = BTreeMap<u32, labels::Wnid>;

#[cfg(test)]
mod tests;
