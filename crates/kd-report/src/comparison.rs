//! The paper's numbers beside ours.

use kd_core::Result;
use kd_core::record::{CorrectionMethod, FinalRecord, ModelId};
use serde::Serialize;

use crate::claims::{Claim, Claims, Measure};
use crate::document::Cell;
use crate::format::{count_cell, percent, percent_cell, signed};
use crate::run::ModelRuns;
use crate::stats::Stat;
use crate::verdict::Verdict;

/// One of the paper's numbers beside ours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimResult {
    /// Id in `claims.toml`.
    pub id: String,
    /// Table, figure or section of the paper.
    pub source: String,
    /// What is counted.
    pub measure: Measure,
    /// The model that answers.
    #[serde(flatten)]
    pub model: ModelId,
    /// The paper's number.
    pub paper: Paper,
    /// Our number.
    pub ours: Stat,
    /// Which epoch it is from.
    pub selection: Selection,
    /// Ours minus the paper's; `None` when the two may not be compared.
    pub difference: Option<f64>,
    /// Two standard errors of the difference.
    pub noise: Option<f64>,
    /// Chance of such a difference without a true one, corrected for the number of results that are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_holm: Option<f64>,
    /// The least difference that matters.
    pub margin: f64,
    /// How many images are behind the paper's number, where the two may be compared.
    #[serde(skip)]
    pub(crate) n_test: Option<usize>,
    /// What that means.
    pub verdict: Verdict,
}

/// The paper's number: one, or the ends of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Paper {
    /// A single number.
    Value(f64),
    /// Lower and upper end.
    Interval([f64; 2]),
}

/// Which epoch a number is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// The epoch with the best accuracy on the test set, as the paper prints.
    Best,
    /// The last epoch.
    Last,
}

/// All numbers that the models answer, without verdicts as yet.
///
/// # Errors
/// [`kd_core::Error::Config`] when a model names a claim that does not exist.
pub(crate) fn results(
    models: &[&ModelRuns],
    claims: &Claims,
    official: bool,
) -> Result<Vec<ClaimResult>> {
    let mut found = Vec::new();
    for model in models {
        let Some(id) = model.claim() else { continue };
        for claim in claims.answered_by(id)? {
            let both = [Selection::Best, Selection::Last];
            found.extend(both.iter().filter_map(|s| result(model, claim, *s, official)));
        }
    }
    Ok(found)
}

fn result(
    model: &ModelRuns,
    claim: &Claim,
    selection: Selection,
    official: bool,
) -> Option<ClaimResult> {
    let finals = || model.finals.values();
    let ours = finals().map(|last| measured((model, last), claim.measure, selection));
    let ours = Stat::of(ours.collect::<Option<_>>()?)?;
    let same_images = finals().all(|f| claim.n_test == Some(claim.measure.n_images(&f.last)));
    let n_test = claim.n_test.filter(|_| official && same_images);
    ClaimResult::new(claim, &model.id, ours, selection, n_test)
}

impl ClaimResult {
    /// Sets the number of `model` beside the paper's, without a verdict as yet. `n_test`: how many images are
    /// behind the paper's; none when the two may not be compared.
    pub(crate) fn new(
        claim: &Claim,
        model: &ModelId,
        ours: Stat,
        selection: Selection,
        n_test: Option<usize>,
    ) -> Option<Self> {
        let (low, high) = claim.interval()?;
        let nearest = ours.mean.max(low).min(high);
        Some(Self {
            id: claim.id.clone(),
            source: claim.source(),
            measure: claim.measure,
            model: model.clone(),
            paper: claim.value.map_or(Paper::Interval([low, high]), Paper::Value),
            selection,
            difference: n_test.map(|_| ours.mean - nearest),
            noise: None,
            p_holm: None,
            margin: claim.margin()?,
            n_test,
            verdict: Verdict::None,
            ours,
        })
    }

    /// What the numbers are to be divided by for fractions of the test images.
    pub(crate) fn unit(&self) -> f64 {
        self.n_test.filter(|_| self.measure.is_count()).map_or(1.0, |n| n as f64)
    }
}

/// Ours, difference and verdict.
pub(crate) fn three(claim: &ClaimResult) -> [Cell; 3] {
    let (factor, decimals) = if claim.measure.is_fraction() { (100.0, 2) } else { (1.0, 1) };
    let difference = claim.difference.zip(claim.noise).map(|(difference, noise)| Cell::Number {
        main: signed(factor * difference, decimals),
        spread: format!("± {:.decimals$}", factor * noise),
    });
    let ours = match claim.measure.is_fraction() {
        true => percent_cell(&claim.ours),
        false => count_cell(&claim.ours),
    };
    [ours, difference.unwrap_or(Cell::Empty), Cell::Verdict(claim.verdict)]
}

/// The paper's number as text.
pub(crate) fn paper(claim: &ClaimResult) -> String {
    let text = |value: f64| match claim.measure {
        Measure::BestTemperature => value.to_string(),
        measure if measure.is_fraction() => percent(value),
        _ => format!("{value:.0}"),
    };
    match claim.paper {
        Paper::Value(value) => text(value),
        Paper::Interval([low, high]) => format!("{}\u{2013}{}", text(low), text(high)),
    }
}

/// What the model of a seed has of it. The confusion matrix is of the last epoch, so that error counts have no
/// `Best`.
pub(crate) fn measured(
    (model, last): (&ModelRuns, &FinalRecord),
    measure: Measure,
    selection: Selection,
) -> Option<f64> {
    let corrected = |class| {
        let key = (CorrectionMethod::TestTuned, class as u32, last.seed);
        model.corrections.get(&key).map(|correction| &correction.evaluation)
    };
    match (measure, selection) {
        (Measure::Top1, Selection::Best) => Some(last.best_top1),
        (Measure::Top1, Selection::Last) => Some(last.last.top1),
        (Measure::Errors, Selection::Last) => Some(last.last.errors() as f64),
        (Measure::ErrorsOn(class), Selection::Last) if last.last.images_of(class) > 0 => {
            Some(last.last.errors_on(class) as f64)
        }
        (Measure::CorrectedErrors(class), Selection::Last) => {
            Some(corrected(class)?.errors() as f64)
        }
        (Measure::CorrectedErrorsOn(class), Selection::Last) => {
            Some(corrected(class)?.errors_on(class) as f64)
        }
        _ => None,
    }
}
