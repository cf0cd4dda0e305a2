//! Everything that answers the paper, with its verdict, and what could have been told at all.

use kd_core::Result;

use crate::adversarial::Adversarial;
use crate::claims::Claims;
use crate::comparison::{self, ClaimResult, Selection};
use crate::ordered::grouped;
use crate::paired::ALPHA;
use crate::run::ModelRuns;
use crate::temperature;
use crate::verdict::{Noise, Test, verdicts};

/// Chance with which a least detectable difference is detected.
const POWER: f64 = 0.8;

/// All numbers that the models, and the attacks on them, answer, in the paper's order.
///
/// # Errors
/// [`kd_core::Error::Config`] when a model names a claim that does not exist.
pub(crate) fn results(
    models: &[&ModelRuns],
    adversarial: Option<&Adversarial>,
    claims: &Claims,
    official: bool,
) -> Result<Vec<ClaimResult>> {
    let mut found = comparison::results(models, claims, official)?;
    found.extend(adversarial.into_iter().flat_map(|all| all.claims(claims, official)));
    judge(&mut found);
    found.extend(temperature::results(models, claims, official));
    let place = |id: &str| claims.all().iter().position(|claim| claim.id == id);
    found.sort_by_key(|result| place(&result.id));
    Ok(found)
}

/// Gives all `results` that may be compared their noise and verdict, those of each selection together.
///
/// The paper's number is one training's, ours a mean of `n`: the standard error of the difference is
/// `sqrt(s_paper^2 + s_ours^2 / n)`, where `s` is the larger of the binomial error of the test images and the
/// spread over seeds that all results of a training have in common.
fn judge(results: &mut [ClaimResult]) {
    for selection in [Selection::Best, Selection::Last] {
        let known = results.iter().enumerate().filter(|(_, result)| result.selection == selection);
        let tests: Vec<(usize, Test)> =
            known.filter_map(|(i, result)| Some((i, test(result, results)?))).collect();
        let verdicts = verdicts(&tests.iter().map(|(_, test)| *test).collect::<Vec<_>>());
        for ((i, test), (p, verdict)) in tests.into_iter().zip(verdicts) {
            let result = &mut results[i];
            result.noise = Some(2.0 * test.error * result.unit());
            (result.p_holm, result.verdict) = (Some(p), verdict);
        }
    }
}

/// The test of one result; nothing where it may not be compared.
fn test(result: &ClaimResult, all: &[ClaimResult]) -> Option<Test> {
    let (difference, n_test, unit) = (result.difference?, result.n_test?, result.unit());
    let ours = result.ours.mean / unit;
    let value = difference / unit;
    let key = |r: &ClaimResult| (r.model.training.clone(), r.measure, r.selection);
    let alike = all.iter().filter(|other| key(other) == key(result));
    let seeds = Noise::pooled(alike.map(|other| &other.ours.values[..]));
    let seeds = seeds.map(|noise| noise.over(unit));
    let paper = Noise::new(ours - value, n_test, seeds);
    let own = Noise::new(ours, n_test, seeds);
    let better = if result.measure.higher_is_better() { value } else { -value };
    Some(Test {
        value: better,
        error: paper.std.hypot(own.std / (result.ours.n as f64).sqrt()),
        noise: paper,
        margin: result.margin / unit,
    })
}

/// What could be told of a result: the least true difference that would be shown in four of five cases.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Detectable<'a> {
    pub(crate) result: &'a ClaimResult,
    /// For each of the asked numbers of seeds, in the unit of the claim.
    pub(crate) least: Vec<f64>,
}

/// `(t(1 - 0.05 / 2m) + t(0.8)) s sqrt(1 + 1/n)` for each of `n_seeds`, where `m` results of this selection are
/// corrected for; infinitely many seeds leave the noise of the paper's one training. Of each claim the best epoch, else the last.
pub(crate) fn detectable<'a>(results: &'a [ClaimResult], n_seeds: &[f64]) -> Vec<Detectable<'a>> {
    let compared: Vec<_> = results.iter().filter(|result| result.noise.is_some()).collect();
    let groups = grouped(compared.iter().copied(), |r| (r.id.clone(), r.model.clone()));
    let one = |group: &Vec<&'a ClaimResult>| {
        let result = *group.iter().min_by_key(|result| result.selection)?;
        let m = compared.iter().filter(|other| other.selection == result.selection).count();
        let test = test(result, results)?;
        let noise = test.noise;
        let reach = noise.upper(ALPHA / (2.0 * m as f64))? + noise.upper(1.0 - POWER)?;
        let least = |n: &f64| reach * noise.std * (1.0 + 1.0 / n).sqrt() * result.unit();
        Some(Detectable { result, least: n_seeds.iter().map(least).collect() })
    };
    groups.iter().filter_map(one).collect()
}
