//! What distillation changes, in the paper and here.

use serde::Serialize;

use crate::claims::Measure;
use crate::comparison::{ClaimResult, Paper, Selection};
use crate::document::{Cell, Column, Row, Section, Table};
use crate::format::signed;
use crate::ordered::grouped;
use crate::paired::{Effect, Paired, effects};
use crate::verdict::{Noise, Test, Verdict, verdicts};

/// A network's accuracy minus that of the one that learned from labels alone, twice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectResult {
    /// Id of the network's own claim.
    pub id: String,
    /// Which epoch it is from.
    pub selection: Selection,
    /// The paper's difference.
    pub paper: f64,
    /// Ours, paired over seeds.
    #[serde(flatten)]
    pub ours: Effect,
    /// Two standard errors of the difference between the two.
    pub noise: f64,
    /// What that means.
    pub verdict: Verdict,
}

/// Every effect of which the paper and a run of at least two seeds have both networks.
pub(crate) fn of(claims: &[ClaimResult]) -> Vec<EffectResult> {
    let accuracies = claims.iter().filter(|claim| claim.measure == Measure::Top1);
    let compared = accuracies.filter(|claim| claim.n_test.is_some());
    let groups = grouped(compared, |claim| (claim.selection, claim.model.training.clone()));
    groups.iter().flat_map(|group| of_group(group).unwrap_or_default()).collect()
}

/// Those of one training, which has a network of labels alone; they are corrected for together.
fn of_group(group: &[&ClaimResult]) -> Option<Vec<EffectResult>> {
    let base = group.iter().find(|claim| claim.id.ends_with("/baseline"))?;
    let seeds = Noise::pooled(group.iter().map(|claim| &claim.ours.values[..]));
    let cells = group.iter().filter(|cell| cell.id != base.id);
    let pairs: Vec<Pair<'_>> =
        cells.map(|cell| Pair::of(cell, base, seeds)).collect::<Option<_>>()?;
    let ours = effects(&pairs.iter().map(|pair| pair.ours).collect::<Vec<_>>());
    let verdicts = verdicts(&pairs.iter().map(|pair| pair.test).collect::<Vec<_>>());
    let result = |((pair, ours), (_, verdict)): ((&Pair<'_>, Effect), (f64, Verdict))| {
        let (id, selection) = (pair.cell.id.clone(), pair.cell.selection);
        EffectResult {
            id,
            selection,
            paper: pair.paper,
            ours,
            noise: 2.0 * pair.test.error,
            verdict,
        }
    };
    Some(pairs.iter().zip(ours).zip(verdicts).map(result).collect())
}

/// Two differences from the network of labels alone.
struct Pair<'a> {
    cell: &'a ClaimResult,
    paper: f64,
    ours: Paired,
    test: Test,
}

impl<'a> Pair<'a> {
    /// The paper's two networks need not have seen the same batches, so that its difference has the noise of
    /// both; ours has that of the pairs.
    fn of(cell: &'a ClaimResult, base: &ClaimResult, seeds: Option<Noise>) -> Option<Self> {
        let (Paper::Value(theirs), Paper::Value(base_theirs)) = (cell.paper, base.paper) else {
            return None;
        };
        let n_test = cell.n_test?;
        let ours = Paired::of(&cell.ours.values, &base.ours.values, 1.0 / n_test as f64)?;
        let [noise, base_noise] = [theirs, base_theirs].map(|p| Noise::new(p, n_test, seeds));
        let own = ours.std / (ours.n as f64).sqrt();
        let error = noise.std.hypot(base_noise.std).hypot(own);
        let paper = theirs - base_theirs;
        let test = Test { value: ours.mean - paper, error, noise, margin: cell.margin };
        Some(Self { cell, paper, ours, test })
    }
}

const CAPTION: &str = "Accuracy minus that of the network of the same training that learned from labels \
    alone, in points. Ours is a mean of differences with the same seed, with its 95 percent interval, and \
    says by Student's paired test whether distillation helps here. Beside the paper stands ours minus the paper's \
    difference, \u{00b1} two standard errors, of which most is that of the paper's two trainings; its verdict is \
    that of the table above. Both verdicts are corrected for the number of networks of a \
    training and epoch (Holm).";

/// The table of them; nothing where there are none.
pub(crate) fn section(effects: &[EffectResult]) -> Option<Section> {
    let mut columns = Column::plain(&["claim", "epoch", "paper"]);
    columns.extend(Column::grouped("ours", &["points", "against labels"]));
    columns.extend(Column::grouped("ours \u{2212} paper", &["points", "verdict"]));
    let rows = effects.iter().map(row).collect();
    let table = Table { caption: CAPTION.into(), columns, rows };
    Section::of_table("The paper's effects and ours", table)
}

fn row(effect: &EffectResult) -> Row {
    let points = |value: f64| signed(100.0 * value, 2);
    let Paired { mean, half_width, .. } = effect.ours.paired;
    let epoch = match effect.selection {
        Selection::Best => "best",
        Selection::Last => "last",
    };
    let number = |main: f64, spread: f64| Cell::Number {
        main: points(main),
        spread: format!("\u{00b1} {:.2}", 100.0 * spread),
    };
    Row::Cells(vec![
        Cell::Code(effect.id.clone()),
        Cell::Text(epoch.into()),
        Cell::number(points(effect.paper)),
        number(mean, half_width),
        Cell::Told(effect.ours.told),
        number(mean - effect.paper, effect.noise),
        Cell::Verdict(effect.verdict),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Report, fixture, run};

    /// With two seeds of the made-up run: each cell of Table 1 beside the 30 units of labels, and so on.
    #[test]
    fn every_distilled_network_has_an_effect() {
        let of = |n_seeds| {
            let run = run::Run::group(fixture::records(n_seeds, 4, false)).unwrap();
            Report::new(run, &crate::Claims::load().unwrap()).unwrap()
        };
        let report = of(3);
        assert_eq!(report.effects.len(), 2 * (9 + 1));
        let id = "mnist/student30/alpha0.5-t5";
        let effect = report.effects.iter().find(|effect| effect.id == id).unwrap();
        assert!((effect.paper - 0.0057).abs() < 1e-9);
        let mean = |id: &str| {
            report.claims.iter().find(|c| c.id == id && c.selection == Selection::Best).unwrap()
        };
        let base = mean("mnist/student30/baseline").ours.mean;
        assert!((effect.ours.paired.mean - (mean(id).ours.mean - base)).abs() < 1e-12);
        assert!(
            effect.noise > 2.0 * 0.0014 * 1.4,
            "two trainings of 138 errors or more: {}",
            effect.noise
        );
        assert!(of(1).effects.is_empty(), "nothing to pair");
    }
}
