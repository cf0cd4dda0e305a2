//! What becomes of photographs that cannot be decoded, and the list of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What becomes of a photograph that is damaged, cut off or no image at all, or not the one that
/// its checksum is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadImage {
    /// It stops the work and is named.
    #[default]
    Error,
    /// It is left out: its batch has a row less. Listed.
    Skip,
    /// What can be decoded of it is used, the rest is black, as with Pillow's
    /// `LOAD_TRUNCATED_IMAGES`. Listed. One of which nothing can be decoded stops the work, and so
    /// does a wrong checksum, which does not tell what of the photograph is whole.
    Lenient,
}

/// Names and reasons, shared by all clones of a set of photographs.
#[derive(Debug, Clone, Default)]
pub(super) struct BadImages(Arc<Mutex<BTreeMap<String, String>>>);

impl BadImages {
    pub(super) fn note(&self, name: String, reason: String) {
        self.0.lock().insert(name, reason);
    }

    /// Sorted by name.
    pub(super) fn list(&self) -> Vec<(String, String)> {
        self.0.lock().iter().map(|(name, reason)| (name.clone(), reason.clone())).collect()
    }
}
