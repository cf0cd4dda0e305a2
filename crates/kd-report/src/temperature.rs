//! Which temperature is the best, beside a claim that says it.

use kd_core::record::ModelId;

use crate::claims::{Claim, Claims, Measure};
use crate::comparison::{ClaimResult, Selection, measured};
use crate::paired::{Paired, Told, effects};
use crate::run::ModelRuns;
use crate::stats::Stat;
use crate::verdict::Verdict;

/// What each temperature of a grid reaches, over all of its weights: a value of each seed.
struct OfT {
    temperature: f64,
    top1: Vec<f64>,
}

/// Every claim about the best temperature whose grid was trained here.
pub(crate) fn results(models: &[&ModelRuns], claims: &Claims, official: bool) -> Vec<ClaimResult> {
    let about = claims.all().iter().filter(|claim| claim.measure == Measure::BestTemperature);
    let both = [Selection::Best, Selection::Last];
    about
        .flat_map(|claim| both.map(|selection| result(models, claim, selection, official)))
        .flatten()
        .collect()
}

fn result(
    models: &[&ModelRuns],
    claim: &Claim,
    selection: Selection,
    official: bool,
) -> Option<ClaimResult> {
    let marked = |model: &&&ModelRuns| {
        let rest = model.claim().and_then(|id| id.strip_prefix(claim.model_id()));
        rest.is_some_and(|rest| rest.starts_with("/alpha"))
    };
    let training = &models.iter().find(marked)?.id.training;
    let grid: Vec<_> = models.iter().filter(|m| m.id.training == *training).copied().collect();
    let all = by_temperature(&grid, selection);
    let n_seeds = all.iter().map(|of| of.top1.len()).min()?;
    let best_of = |seed: usize| {
        let best = all.iter().max_by(|a, b| a.top1[seed].total_cmp(&b.top1[seed]));
        best.map(|of| of.temperature)
    };
    let ours = Stat::of((0..n_seeds).map(best_of).collect::<Option<_>>()?)?;
    let id = ModelId::new(training, "");
    let mut result = ClaimResult::new(claim, &id, ours, selection, None)?;
    let mut finals = grid.iter().flat_map(|model| model.finals.values());
    if official && finals.all(|last| claim.n_test == Some(last.last.total)) {
        result.verdict = verdict(&all, claim.interval()?);
    }
    Some(result)
}

/// The accuracies of each temperature, meaned over the weights, where more than one weight was tried.
fn by_temperature(grid: &[&ModelRuns], selection: Selection) -> Vec<OfT> {
    let cell = |model: &&ModelRuns| {
        let (_, temperature) = model.finals.values().next()?.how.cell()?;
        let top1 =
            model.finals.values().map(|last| measured((model, last), Measure::Top1, selection));
        Some((temperature, top1.collect::<Option<Vec<f64>>>()?))
    };
    let mut cells: Vec<_> = grid.iter().filter_map(cell).collect();
    cells.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let same = |a: &(f64, Vec<f64>), b: &(f64, Vec<f64>)| a.0.total_cmp(&b.0).is_eq();
    cells.chunk_by(same).map(meaned).collect()
}

fn meaned(cells: &[(f64, Vec<f64>)]) -> OfT {
    let n_seeds = cells.iter().map(|(_, values)| values.len()).min().unwrap_or(0);
    let mean = |seed| cells.iter().map(|(_, v)| v[seed]).sum::<f64>() / cells.len() as f64;
    OfT { temperature: cells[0].0, top1: (0..n_seeds).map(mean).collect() }
}

/// `Reproduced` where the best temperature of the interval is better than all outside of it, `Differs` where
/// one of these is better than it, over the same seeds and corrected for their number; else `Open`.
fn verdict(all: &[OfT], (low, high): (f64, f64)) -> Verdict {
    let (inside, outside): (Vec<_>, Vec<_>) =
        all.iter().partition(|of| (low..=high).contains(&of.temperature));
    let sum = |of: &OfT| of.top1.iter().sum::<f64>();
    let Some(best) = inside.into_iter().max_by(|a, b| sum(a).total_cmp(&sum(b))) else {
        return Verdict::None;
    };
    let paired = outside.iter().map(|of| Paired::of(&of.top1, &best.top1, 0.0));
    let Some(paired) = paired.collect::<Option<Vec<_>>>() else { return Verdict::Open };
    let told: Vec<Told> = effects(&paired).iter().map(|effect| effect.told).collect();
    match () {
        () if told.contains(&Told::Better) => Verdict::Differs,
        () if told.iter().all(|told| *told == Told::Worse) => Verdict::Reproduced,
        () => Verdict::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(temperature: f64, top1: &[f64]) -> OfT {
        OfT { temperature, top1: top1.to_vec() }
    }

    #[test]
    fn seeds_decide_between_temperatures() {
        let three = of(3.0, &[0.970, 0.972, 0.971]);
        let worse = |t| of(t, &[0.960, 0.961, 0.961]);
        let near = |t| of(t, &[0.971, 0.971, 0.970]);
        let better = |t| of(t, &[0.980, 0.981, 0.981]);
        let verdict = |others: [OfT; 2]| {
            let all: Vec<OfT> = others.into_iter().chain([of(3.0, &three.top1)]).collect();
            super::verdict(&all, (2.5, 4.0))
        };
        assert_eq!(verdict([worse(1.0), worse(10.0)]), Verdict::Reproduced);
        assert_eq!(verdict([worse(1.0), near(10.0)]), Verdict::Open);
        assert_eq!(verdict([better(1.0), near(10.0)]), Verdict::Differs);
        assert_eq!(super::verdict(&[worse(1.0)], (2.5, 4.0)), Verdict::None, "none inside");
        let one = [of(1.0, &[0.9]), of(3.0, &[0.97])];
        assert_eq!(super::verdict(&one, (2.5, 4.0)), Verdict::Open, "one seed");
    }

    #[test]
    fn a_temperature_is_the_mean_over_the_weights() {
        let mean = meaned(&[(5.0, vec![0.5, 0.7]), (5.0, vec![0.7, 0.8])]);
        assert!((mean.top1[0] - 0.6).abs() < 1e-12 && (mean.top1[1] - 0.75).abs() < 1e-12);
    }
}
