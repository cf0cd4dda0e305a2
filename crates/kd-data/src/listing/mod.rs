//! Which images a folder of class folders holds.
//!
//! Key decision: classes are numbered and images ordered as by torchvision's `ImageFolder`, and as
//! there what is no picture is passed over; but it is counted, so that a reader can say so, and what
//! systems leave in folders is no class. Types come with the names from the directory, so that a
//! million files are listed without opening one.

mod annotated;
mod entries;
mod files;
mod parts;
mod words;

pub(crate) use self::entries::is_picture;
pub(crate) use self::files::{Listing, MAX_IMAGE};
pub use self::parts::part_names;
pub(crate) use self::parts::{Places, class_folders, existing};
pub(crate) use self::words::class_order;

#[cfg(test)]
mod tests;
