//! What CIFAR-10 and CIFAR-100 have in common: records, and where their files are found.

pub(crate) mod records;
pub(crate) mod source;
