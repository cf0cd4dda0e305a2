//! Values in files as JSON.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// `value` in one line, for the file `path`.
///
/// # Errors
/// [`Error::Parse`] for what JSON cannot say.
pub fn line(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::parse(path, e.to_string()))
}

/// `value` in several lines, for people, for the file `path`.
///
/// # Errors
/// [`Error::Parse`] for what JSON cannot say.
pub fn pretty(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|e| Error::parse(path, e.to_string()))
}

/// The value that `bytes`, the content of `path`, say.
///
/// # Errors
/// [`Error::Parse`].
pub fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::parse(path, e.to_string()))
}
