//! How exactly to compute.

use serde::{Deserialize, Serialize};

/// How exactly a GPU multiplies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As a processor does: 24 bits of each factor.
    #[default]
    F32,
    /// On tensor cores: 11 bits of each factor of matrix products and convolutions, added up in
    /// f32. All else is f32.
    Tf32,
}
