//! Which reading of a paper explains its table: every combination of what it leaves open, ranked by how likely
//! it is to give the paper's numbers.

mod axes;
mod check;
mod data;
mod evidence;
mod pattern;
mod section;

use std::collections::BTreeSet;

use kd_core::record::ReadingsRecord;
use serde::Serialize;

use crate::claims::Claims;
use crate::format::setting;
use crate::run::Run;
use crate::stats::Stat;

pub use axes::{Axis, Choice};
pub use check::MadeUp;
use data::Data;
pub use data::Number;
use evidence::Evidence;
pub use pattern::{Grid as PatternGrid, Pattern};
pub(crate) use section::section;

/// The readings of a paper beside its numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Readings {
    /// Seeds that ended in all of them.
    pub n_seeds: usize,
    /// The paper's numbers that all of them answer, and how uncertain one training's is.
    pub numbers: Vec<Number>,
    /// What is open, and what the paper's table says of it; empty for images that may not be compared.
    pub axes: Vec<Axis>,
    /// All of them, the likeliest first; in their order for images that may not be compared.
    pub readings: Vec<Reading>,
    /// Chance that a table made by the likeliest reading is as far from all of them as the paper's is; none for images
    /// that may not be compared.
    pub p: Option<f64>,
    /// The pattern of the tables over alpha and temperature; none without a grid.
    pub grid: Option<pattern::Grid>,
    /// What the search makes of tables whose reading is known.
    pub made_up: Option<MadeUp>,
    /// Trainings that the readings consist of.
    #[serde(skip)]
    pub(crate) trainings: BTreeSet<String>,
}

/// One way to read the paper.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// Its value on each axis.
    pub values: Vec<String>,
    /// Probability that this reading, of all of them, made the paper's table; every one was as likely before.
    pub posterior: f64,
    /// How far the paper's table is from its mean: a sum of squares in units of the noise.
    pub distance: f64,
    /// Ours of each number, fractions.
    pub ours: Vec<Stat>,
}

/// The readings of `run`; nothing where there are none that ended, or none that answers a number.
pub(crate) fn of(run: &Run, claims: &Claims, official: bool) -> Option<Readings> {
    let record = run.readings.as_ref()?;
    let data = Data::of(run, record, claims)?;
    let official = official && data.same_images && !record.pattern_only;
    let evidence = Evidence::of(&data);
    let means = data.means();
    let paper: Vec<f64> = data.numbers.iter().map(|number| number.paper).collect();
    let distances = evidence.distances(&paper, &means, data.n_seeds);
    let posterior = evidence::posterior(&distances, &data.orders);
    let reading = |place: usize| {
        let ours = data.values[place].iter().map(|values| Stat::of(values.clone()));
        let (posterior, distance) = (posterior[place], distances[place]);
        Some(Reading {
            values: words(record, place),
            posterior,
            distance,
            ours: ours.collect::<Option<_>>()?,
        })
    };
    let mut order: Vec<usize> = (0..means.len()).collect();
    if official {
        order.sort_by(|&a, &b| posterior[b].total_cmp(&posterior[a]));
    }
    let answering = record.readings.iter().flat_map(|reading| reading.cells.values());
    let readings: Vec<Reading> = order.into_iter().map(reading).collect::<Option<_>>()?;
    Some(Readings {
        grid: pattern::Grid::of(&data.numbers, readings.iter().map(|reading| &reading.ours[..])),
        n_seeds: data.n_seeds,
        axes: if official { axes::of(record, &posterior, &distances) } else { Vec::new() },
        p: official.then(|| evidence.p(&distances, &means, data.n_seeds)),
        made_up: check::of(&data, &evidence),
        readings,
        trainings: answering.map(|id| id.training.clone()).collect(),
        numbers: data.numbers,
    })
}

/// The value of each axis that the reading at `place` has.
fn words(record: &ReadingsRecord, place: usize) -> Vec<String> {
    let values = record.readings[place].values.iter().zip(&record.axes);
    values.map(|(&i, axis)| axis.values.get(i).map_or(String::new(), setting)).collect()
}

#[cfg(test)]
mod tests;
