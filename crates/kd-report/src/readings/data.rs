//! The numbers that all readings answer, seed by seed.

use kd_core::record::{ModelId, ReadingRecord, ReadingsRecord};

use super::Number;
use crate::claims::{Claim, Claims};
use crate::comparison::{Selection, measured};
use crate::run::{ModelRuns, Run};
use crate::stats::binomial_error;

/// Values by reading, number and seed.
pub(super) struct Data {
    pub(super) numbers: Vec<Number>,
    pub(super) values: Vec<Vec<Vec<f64>>>,
    pub(super) n_seeds: usize,
    /// Whether the images were as many as the paper's.
    pub(super) same_images: bool,
}

impl Data {
    /// What `run` has of the readings in `record`; nothing where no seed ended in all of them.
    pub(super) fn of(run: &Run, record: &ReadingsRecord, claims: &Claims) -> Option<Self> {
        let first = record.readings.first()?;
        let is_asked = |claim: &&Claim| {
            claim.by.is_none()
                && claim.value.is_some()
                && first.cells.contains_key(claim.model_id())
        };
        let asked: Vec<&Claim> = claims.all().iter().filter(is_asked).collect();
        let seeds = seeds(run, record);
        let of_reading = |reading: &ReadingRecord| -> Option<Vec<Vec<f64>>> {
            asked.iter().map(|claim| values(run, reading, claim, &seeds)).collect()
        };
        let values: Vec<_> = record.readings.iter().map(of_reading).collect::<Option<_>>()?;
        let numbers: Vec<Number> =
            asked.iter().map(|claim| number(claim)).collect::<Option<_>>()?;
        let known = !numbers.is_empty() && !seeds.is_empty();
        let same_images = asked.iter().all(|claim| has_its_images(run, first, claim));
        known.then_some(Self { numbers, values, n_seeds: seeds.len(), same_images })
    }
}

/// Seeds that ended in every model of every reading.
fn seeds(run: &Run, record: &ReadingsRecord) -> Vec<u64> {
    let ids = record.readings.iter().flat_map(|reading| reading.cells.values());
    let models: Vec<_> = ids.map(|id| model(run, id)).collect();
    let ended = |seed: &u64| {
        models.iter().all(|model| model.is_some_and(|model| model.finals.contains_key(seed)))
    };
    (0..run.provenance.seeds).filter(ended).collect()
}

fn model<'a>(run: &'a Run, id: &ModelId) -> Option<&'a ModelRuns> {
    run.models.iter().find(|model| model.id == *id)
}

/// What the reading says of the claim, as fractions of its images. The errors of the best epoch are not known: they
/// are those of the last.
fn values(run: &Run, reading: &ReadingRecord, claim: &Claim, seeds: &[u64]) -> Option<Vec<f64>> {
    let model = model(run, reading.cells.get(claim.model_id())?)?;
    let selection = match reading.last || claim.measure.is_count() {
        true => Selection::Last,
        false => Selection::Best,
    };
    let unit = if claim.measure.is_count() { claim.n_test? as f64 } else { 1.0 };
    let of = |seed: &u64| measured((model, model.finals.get(seed)?), claim.measure, selection);
    seeds.iter().map(|seed| of(seed).map(|value| value / unit)).collect()
}

fn has_its_images(run: &Run, reading: &ReadingRecord, claim: &Claim) -> bool {
    let model = reading.cells.get(claim.model_id()).and_then(|id| model(run, id));
    let mut finals = model.iter().flat_map(|model| model.finals.values());
    finals.all(|last| claim.n_test == Some(claim.measure.n_images(&last.last)))
}

fn number(claim: &Claim) -> Option<Number> {
    let (value, n_test, is_count) = (claim.value?, claim.n_test?, claim.measure.is_count());
    let paper = if is_count { value / n_test as f64 } else { value };
    let training: Vec<&str> = claim.id.split('/').take(2).collect();
    Some(Number {
        id: claim.id.clone(),
        paper,
        n_test,
        is_count,
        noise: binomial_error(paper, n_test),
        group: training.join("/"),
    })
}
