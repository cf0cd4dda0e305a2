//! Whether distilling will help, and with which alpha and temperature, from a training's first epoch.
//!
//! Key decision: an experiment, and it says so by its own figures. Three rules are judged on each finished grid by
//! what the grids of all other trainings teach, and the one that lost least is asked.

mod grid;
mod judge;
mod ridge;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use kd_core::{Error, Result, record};
use serde::Serialize;

use crate::document::{Cell, Column, Row, Table};
use crate::format::{counted, percent, signed};
use crate::ordered::grouped;
use crate::run::Run;
use crate::{markdown, spec};
use grid::Grid;
use judge::Taught;

pub use judge::{Judged, Rule};

/// What finished grids teach of others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foresight {
    /// Grids, one for each seed of a training, and the trainings.
    pub n_grids: usize,
    /// Trainings that they belong to.
    pub n_trainings: usize,
    /// Rules, each tried on every grid, taught by those of all other trainings.
    pub judged: Vec<Judged>,
    /// That which lost least.
    pub best: Judged,
    /// What it says of the grids of the run that was only begun.
    pub suggestions: Vec<Suggestion>,
}

/// What to do in a training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestion {
    /// Run and training.
    pub training: String,
    /// Weight of the soft targets of the cell that is expected to be best.
    pub alpha: f64,
    /// Its temperature.
    pub temperature: f64,
    /// Its accuracy less that of labels alone, as expected: below 0, labels alone are.
    pub gain: f64,
}

impl Foresight {
    /// Learns from the grids of the runs `known`, and looks at those of `begun`, which may have one epoch.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Parse`] for a folder without a run; [`Error::Config`] where fewer than two trainings
    /// of the known runs, or none of the run that was begun, have a grid.
    pub fn read(known: &[PathBuf], begun: &Path) -> Result<Self> {
        let grids = known.iter().map(|folder| grids(folder)).collect::<Result<Vec<_>>>()?.concat();
        let n_trainings = grouped(&grids, |grid| grid.training.clone()).len();
        let lacking = |what: &str| {
            let reason = format!(
                "{what} a grid: students of alpha and temperature, one of labels alone, a teacher, all of \
                 which have ended, and no class left out"
            );
            Error::config("foresee", reason)
        };
        if n_trainings < 2 {
            return Err(lacking("fewer than two trainings of the finished runs have"));
        }
        let begun = self::grids(begun)?;
        if begun.is_empty() {
            return Err(lacking("the run that was begun lacks"));
        }
        let judged = judge::judge(&grids);
        let best = judged.iter().copied().min_by(|a, b| a.lost.total_cmp(&b.lost));
        let best = best.expect("invariant: there are rules");
        let taught = Taught::by(grids.iter().collect());
        let trainings = grouped(&begun, |grid| grid.training.clone());
        let suggestions =
            trainings.iter().filter_map(|seeds| suggestion(&taught, best.rule, seeds));
        let (n_grids, suggestions) = (grids.len(), suggestions.collect());
        Ok(Self { n_grids, n_trainings, judged, best, suggestions })
    }

    /// As two tables in Markdown.
    pub fn to_markdown(&self) -> String {
        format!("{}\n{}", markdown::table(&self.judgement()), markdown::table(&self.advice()))
    }

    fn judgement(&self) -> Table {
        let caption = format!(
            "How rules did that choose a cell, or labels alone, after the first epoch, in {} of {}: each is taught by the \
             grids of all other trainings. Right: how often it said rightly whether its cell would be better than labels \
             alone, in percent. Gain, and what the best choice would have gained beyond it: points of accuracy.",
            counted(self.n_grids, "grid"),
            counted(self.n_trainings, "training"),
        );
        let rows = self.judged.iter().map(|Judged { rule, right, gain, lost, .. }| {
            let (right, lost) = (Cell::number(percent(*right)), Cell::number(percent(*lost)));
            let gain = Cell::number(signed(100.0 * gain, 2));
            Row::Cells(vec![Cell::Text(words(*rule).into()), right, gain, lost])
        });
        let columns = Column::plain(&["rule", "right", "gain", "lost"]);
        Table { caption, columns, rows: rows.collect() }
    }

    fn advice(&self) -> Table {
        let caption = format!(
            "What the rule suggests that lost least ({}); expected are points of accuracy beyond labels alone, ± {}, \
             by which it was wrong in the grids above. An experiment: no more than those figures say.",
            words(self.best.rule),
            percent(self.best.error)
        );
        let columns = Column::plain(&["training", "suggestion", "expected"]);
        let rows = self.suggestions.iter().map(|one| {
            let cell = format!("alpha {}, T {}", one.alpha, one.temperature);
            let words = if one.gain > 0.0 { cell } else { format!("labels alone; else {cell}") };
            let expected = Cell::number(signed(100.0 * one.gain, 2));
            Row::Cells(vec![Cell::Code(one.training.clone()), Cell::Text(words), expected])
        });
        Table { caption, columns, rows: rows.collect() }
    }
}

fn words(rule: Rule) -> &'static str {
    match rule {
        Rule::Foresight => "regression on the first epoch and the teacher",
        Rule::FirstEpoch => "best after the first epoch",
        Rule::Usual => "usually best",
    }
}

/// The cell that `rule` expects to be best on the average of a training's seeds.
fn suggestion(taught: &Taught<'_>, rule: Rule, seeds: &[&Grid]) -> Option<Suggestion> {
    let expected = |cell: &grid::Cell| {
        let same = seeds.iter().flat_map(|seed| &seed.cells).filter(|other| other.is_at(cell));
        let all: Vec<f64> = same.map(|one| taught.expected(rule, one)).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    };
    let cells = seeds[0].cells.iter().map(|cell| (cell, expected(cell)));
    let (cell, gain) = cells.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let (alpha, temperature) = (cell.alpha, cell.temperature);
    Some(Suggestion { training: seeds[0].training.clone(), alpha, temperature, gain })
}

/// The grids of the run in `folder`.
fn grids(folder: &Path) -> Result<Vec<Grid>> {
    let run = Run::group(record::read(&folder.join("metrics.jsonl"))?)?;
    let spec = crate::spec(&folder.join("spec.toml"))?.unwrap_or_default();
    let spec = spec::Spec::parse(&spec);
    let name = folder
        .file_name()
        .map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into());
    Ok(grid::of_run(&name, &run, &spec))
}
