//! The commands, one file each.

pub(crate) mod attack;
mod augment;
pub(crate) mod cut;
pub(crate) mod data;
mod engine;
pub(crate) mod eval;
mod exchange;
pub(crate) mod export;
mod images;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod predict;
pub(crate) mod report;
pub(crate) mod run;
mod run_args;
mod setting;
pub(crate) mod ship;
pub(crate) mod status;
mod teach;
pub(crate) mod train;
mod words;
