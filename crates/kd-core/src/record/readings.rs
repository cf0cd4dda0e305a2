//! Ways to read a protocol that a paper does not tell in full.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ModelId, Setting};

/// What a paper leaves open, and which models answer its numbers in each way to read it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadingsRecord {
    /// Whether networks or images are not the paper's, so that only the pattern of a table can be compared.
    #[serde(default)]
    pub pattern_only: bool,
    /// What is open.
    pub axes: Vec<AxisRecord>,
    /// Every combination.
    pub readings: Vec<ReadingRecord>,
}

/// One choice that a paper leaves open.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AxisRecord {
    /// Its name in suite files, such as `crop_padding`.
    pub name: String,
    /// What it may be.
    pub values: Vec<Setting>,
}

/// One way to read the protocol.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadingRecord {
    /// The place of its value on each axis, counted from 0.
    pub values: Vec<usize>,
    /// Whether accuracies are those of the last epoch, not of the best.
    #[serde(default)]
    pub last: bool,
    /// The model that answers, by the id that claims of the paper have in suites.
    pub cells: BTreeMap<String, ModelId>,
}
