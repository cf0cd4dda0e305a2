//! The numbers that all readings answer, seed by seed.

use std::cmp::Ordering;

use kd_core::record::{ModelId, ReadingRecord, ReadingsRecord};

use serde::Serialize;

use crate::claims::{Claim, Claims, Measure};
use crate::comparison::{Selection, measured};
use crate::run::{EPOCHS_TO, ModelRuns, Run};
use crate::verdict::Noise;

/// A number of the paper.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Number {
    /// Id of its claim.
    pub id: String,
    /// The paper's value: a fraction of `n_test` images, errors being fractions too.
    pub paper: f64,
    /// Number of test images.
    pub n_test: usize,
    /// Whether it is printed as a count of errors.
    pub is_count: bool,
    /// Standard deviation of a single training's: the larger of the binomial error and the spread over seeds
    /// that all readings of the training have in common.
    pub noise: f64,
    /// The training and kind of number whose spread it shares.
    #[serde(skip)]
    pub(super) group: String,
}

/// Values by reading, number and seed.
pub(super) struct Data {
    pub(super) numbers: Vec<Number>,
    pub(super) values: Vec<Vec<Vec<f64>>>,
    pub(super) n_seeds: usize,
    /// Whether the images were as many as the paper's.
    pub(super) same_images: bool,
    /// Of each reading the logarithm of the chance that its networks learn in the paper's order.
    pub(super) orders: Vec<f64>,
}

impl Data {
    /// The mean over seeds of each number in each reading.
    pub(super) fn means(&self) -> Vec<Vec<f64>> {
        let of = |numbers: &Vec<Vec<f64>>| numbers.iter().map(|values| mean(values)).collect();
        self.values.iter().map(of).collect()
    }

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
        let numbers = asked.iter().enumerate().map(|(i, claim)| {
            let of_all = values.iter().map(|numbers: &Vec<Vec<f64>>| &numbers[i][..]);
            number(claim, Noise::pooled(of_all))
        });
        let numbers: Vec<Number> = numbers.collect::<Option<_>>()?;
        let known = !numbers.is_empty() && !seeds.is_empty();
        let same_images = asked.iter().all(|claim| has_its_images(run, first, claim));
        let orders = claims.all().iter().filter(|claim| claim.measure == Measure::EpochsOrder);
        let orders: Vec<&Claim> = orders.collect();
        let order = |reading: &ReadingRecord| {
            orders.iter().filter_map(|claim| in_order(run, reading, claim, &seeds)).sum()
        };
        let orders = record.readings.iter().map(order).collect();
        known.then_some(Self { numbers, values, n_seeds: seeds.len(), same_images, orders })
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

/// Logarithm of the chance that the reading's networks reach the lower of [`EPOCHS_TO`] in the order of the claim: seeds in
/// that order, one half of a seed for equal epochs, and one seed of each kind for what few seeds do not tell (Laplace).
fn in_order(run: &Run, reading: &ReadingRecord, claim: &Claim, seeds: &[u64]) -> Option<f64> {
    let models = claim.order.iter().map(|id| model(run, reading.cells.get(id)?));
    let models: Vec<&ModelRuns> = models.collect::<Option<_>>()?;
    // Where none does, after all others.
    let reached = |model: &ModelRuns, seed| model.epochs_to(seed, EPOCHS_TO[0]).unwrap_or(u64::MAX);
    let of_seed = |seed: &u64| {
        let epochs: Vec<u64> = models.iter().map(|model| reached(model, *seed)).collect();
        match epochs.iter().zip(&epochs[1..]).map(|(a, b)| a.cmp(b)).max() {
            Some(Ordering::Less) => 1.0,
            Some(Ordering::Equal) => 0.5,
            _ => 0.0,
        }
    };
    let n: f64 = seeds.iter().map(of_seed).sum();
    Some(((n + 1.0) / (seeds.len() as f64 + 2.0)).ln())
}

/// `seeds`: its spread over seeds in all readings.
fn number(claim: &Claim, seeds: Option<Noise>) -> Option<Number> {
    let (value, n_test, is_count) = (claim.value?, claim.n_test?, claim.measure.is_count());
    let paper = if is_count { value / n_test as f64 } else { value };
    let training: Vec<&str> = claim.id.split('/').take(2).collect();
    Some(Number {
        id: claim.id.clone(),
        paper,
        n_test,
        is_count,
        noise: Noise::new(paper, n_test, seeds).std,
        group: training.join("/"),
    })
}

/// Sum of the products of two numbers' deviations from their means.
pub(super) fn products(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum()
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
