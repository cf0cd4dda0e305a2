//! Which of the open choices matters, and what the paper's table says of it.

use kd_core::record::ReadingsRecord;
use serde::Serialize;

use crate::format::setting;

/// One open choice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axis {
    /// Its name in suite files.
    pub name: String,
    /// How much the table says of it, bits: 0 where every value is as likely as before.
    pub bits: f64,
    /// What it may be.
    pub choices: Vec<Choice>,
}

/// One value of an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The value.
    pub value: String,
    /// Probability of the readings that have it.
    pub posterior: f64,
    /// Squared distance of the nearest of these beyond that of the nearest of all.
    pub behind: f64,
}

/// The axes of all readings in `record`.
pub(super) fn of(record: &ReadingsRecord, posterior: &[f64], distances: &[f64]) -> Vec<Axis> {
    let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let axis = |place: usize| {
        let axis = &record.axes[place];
        let choice = |i: usize| {
            let has = |r: &usize| record.readings[*r].values[place] == i;
            let all = || (0..record.readings.len()).filter(has);
            let nearest = all().map(|r| distances[r]).fold(f64::INFINITY, f64::min);
            let sum = all().map(|r| posterior[r]).sum();
            let value = setting(&axis.values[i]);
            Choice { value, posterior: sum, behind: nearest - least }
        };
        let choices: Vec<Choice> = (0..axis.values.len()).map(choice).collect();
        Axis { name: axis.name.clone(), bits: bits(&choices), choices }
    };
    (0..record.axes.len()).map(axis).collect()
}

/// `sum p log2(p n)` over `n` values: the information gained over equal chances (Kullback and Leibler).
fn bits(choices: &[Choice]) -> f64 {
    let n = choices.len() as f64;
    let gained = choices.iter().map(|choice| choice.posterior).filter(|p| *p > 0.0);
    gained.map(|p| p * (p * n).log2()).sum::<f64>().max(0.0)
}
