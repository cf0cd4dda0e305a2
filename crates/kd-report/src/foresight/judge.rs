//! How well rules that choose a cell of a grid after its first epoch would have done.

use std::collections::BTreeSet;

use serde::Serialize;

use super::grid::{Cell, Grid};
use super::ridge::Ridge;

/// A way to choose a cell, or labels alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// By the regression over the other grids.
    Foresight,
    /// What is best after the first epoch.
    FirstEpoch,
    /// What was best on the average of the other grids, whatever the first epoch says.
    Usual,
}

/// What came of a rule, on the average of all grids; gains are differences of accuracies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Judged {
    /// The rule.
    pub rule: Rule,
    /// Fraction of the grids in which it said rightly whether the cell that it chose would be better than labels
    /// alone.
    pub right: f64,
    /// Gain of what it chose; 0 where that was labels alone.
    pub gain: f64,
    /// What the best cell, or labels alone, would have been better by.
    pub lost: f64,
    /// Root mean square of what it was wrong by in the cells that it chose.
    pub error: f64,
}

/// A cell, and what it is expected to gain.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    cell: Cell,
    expected: f64,
}

/// What all grids but those of one training teach.
pub(super) struct Taught<'g> {
    others: Vec<&'g Grid>,
    ridge: Ridge,
}

impl<'g> Taught<'g> {
    pub(super) fn by(others: Vec<&'g Grid>) -> Self {
        let cells = || others.iter().flat_map(|grid| &grid.cells);
        let known: Vec<_> = cells().map(|cell| cell.known).collect();
        let ridge = Ridge::fit(&known, &cells().map(|cell| cell.gain).collect::<Vec<_>>());
        Self { others, ridge }
    }

    /// The gain that `rule` expects of a cell.
    pub(super) fn expected(&self, rule: Rule, cell: &Cell) -> f64 {
        match rule {
            Rule::Foresight => self.ridge.predict(&cell.known),
            Rule::FirstEpoch => cell.first_gain(),
            Rule::Usual => self.usual(cell),
        }
    }

    /// The cell for which `rule` expects most.
    fn choose(&self, rule: Rule, cells: &[Cell]) -> Option<Chosen> {
        let expected = |cell| self.expected(rule, cell);
        let all = cells.iter().map(|cell| Chosen { cell: *cell, expected: expected(cell) });
        all.max_by(|a, b| a.expected.total_cmp(&b.expected))
    }

    /// Mean gain of this cell in the other grids that have it; no gain where none has.
    fn usual(&self, cell: &Cell) -> f64 {
        let same =
            self.others.iter().flat_map(|grid| &grid.cells).filter(|other| other.is_at(cell));
        let gains: Vec<f64> = same.map(|other| other.gain).collect();
        gains.iter().sum::<f64>() / gains.len().max(1) as f64
    }
}

/// Each rule on every grid, taught by those of all other trainings.
pub(super) fn judge(grids: &[Grid]) -> Vec<Judged> {
    let trainings: BTreeSet<&String> = grids.iter().map(|grid| &grid.training).collect();
    let mut choices: Vec<(&Grid, [Chosen; 3])> = Vec::new();
    for training in trainings {
        let (own, others): (Vec<_>, Vec<_>) = grids.iter().partition(|g| g.training == *training);
        let taught = Taught::by(others);
        choices.extend(own.into_iter().filter_map(|grid| Some((grid, all(&taught, grid)?))));
    }
    let judged = RULES.into_iter().enumerate().map(|(i, rule)| {
        let chosen: Vec<_> = choices.iter().map(|(grid, chosen)| (*grid, chosen[i])).collect();
        judged(rule, &chosen)
    });
    judged.collect()
}

const RULES: [Rule; 3] = [Rule::Foresight, Rule::FirstEpoch, Rule::Usual];

fn all(taught: &Taught<'_>, grid: &Grid) -> Option<[Chosen; 3]> {
    let [a, b, c] = RULES.map(|rule| taught.choose(rule, &grid.cells));
    Some([a?, b?, c?])
}

fn judged(rule: Rule, choices: &[(&Grid, Chosen)]) -> Judged {
    let mean = |of: &dyn Fn(&(&Grid, Chosen)) -> f64| {
        choices.iter().map(of).sum::<f64>() / choices.len().max(1) as f64
    };
    let gain = |chosen: &Chosen| if chosen.expected > 0.0 { chosen.cell.gain } else { 0.0 };
    let best = |grid: &Grid| grid.cells.iter().map(|cell| cell.gain).fold(0.0, f64::max);
    let is_right = |chosen: &Chosen| (chosen.expected > 0.0) == (chosen.cell.gain > 0.0);
    Judged {
        rule,
        right: mean(&|(_, chosen)| f64::from(u8::from(is_right(chosen)))),
        gain: mean(&|(_, chosen)| gain(chosen)),
        lost: mean(&|(grid, chosen)| best(grid) - gain(chosen)),
        error: mean(&|(_, chosen)| (chosen.expected - chosen.cell.gain).powi(2)).sqrt(),
    }
}
