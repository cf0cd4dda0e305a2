//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod eval;
pub(crate) mod list;
pub(crate) mod report;
pub(crate) mod run;
mod setting;
pub(crate) mod train;
