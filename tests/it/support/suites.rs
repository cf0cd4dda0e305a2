//! Tiny suites.

use std::fs;

use tempfile::TempDir;

/// Two trainings of MLPs on synthetic digits.
pub(crate) const MLPS: &str = include_str!("../tiny.toml");
/// The same of convolutional networks on synthetic objects.
pub(crate) const CNNS: &str = include_str!("../tiny-cnn.toml");
/// Methods of distillation, of which some have settings to choose from.
pub(crate) const METHODS: &str = include_str!("../tiny-methods.toml");

/// A folder with `suite` as `suite.toml`.
pub(crate) fn folder_of(suite: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("suite.toml"), suite).unwrap();
    folder
}
