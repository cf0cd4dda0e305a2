//! The paper's numbers beside ours: levels, effects, and what could have been told.

use crate::comparison::{ClaimResult, Selection, paper, three};
use crate::document::{Cell, Column, Row, Section, Table};
use crate::effects;
use crate::format::percent;
use crate::judge::{Detectable, detectable};
use crate::report::Report;

/// The sections about them; none where nothing answers the paper.
pub(crate) fn sections(report: &Report) -> Vec<Section> {
    let sections = [claims(report), effects::section(&report.effects), told(report)];
    sections.into_iter().flatten().collect()
}

fn claims(report: &Report) -> Option<Section> {
    let rows: Vec<_> = pairs(report).map(|(best, last)| claim_row(best, last)).collect();
    let mut columns = Column::plain(&["claim", "where", "our model", "paper"]);
    for group in ["best epoch", "last epoch"] {
        columns.extend(Column::grouped(group, &["ours", "difference", "verdict"]));
    }
    let caption = "Accuracies in percent, differences in points; errors are counts of images, \
                   measured after the last epoch only. A best temperature is the one of each seed, and is \
                   judged by paired differences from the others."
        .into();
    Section::of_table("The paper's numbers and ours", Table { caption, columns, rows })
}

/// Numbers of seeds for which the report says what could be told; infinitely many are the last.
const N_SEEDS: [f64; 5] = [1.0, 3.0, 5.0, 10.0, f64::INFINITY];

/// What could be told with so many seeds.
fn told(report: &Report) -> Option<Section> {
    let row = |one: &Detectable<'_>| {
        let result = one.result;
        let number = |value: f64| match result.measure.is_fraction() {
            true => Cell::number(percent(value)),
            false => Cell::number(format!("{value:.0}")),
        };
        let mut cells = vec![Cell::Code(distinct_id(report, result)), number(result.margin)];
        cells.extend(one.least.iter().map(|least| number(*least)));
        Row::Cells(cells)
    };
    let rows = detectable(&report.claims, &N_SEEDS).iter().map(row).collect();
    let mut columns = Column::plain(&["claim", "margin"]);
    let names = ["1 seed", "3 seeds", "5 seeds", "10 seeds", "any number"];
    columns.extend(Column::grouped("least difference that is told with", &names));
    let caption = "The true difference, in points or images, that four of five such runs would call better or \
        worse, with as many results to correct for as here. More seeds of ours do not help beyond the last \
        column: the paper's number is of one training. The margin is the least difference that would \
        change what is said with the number."
        .into();
    Section::of_table("What could be told", Table { caption, columns, rows })
}

/// Each answered claim with its best-epoch result, if it has one, and its last-epoch result.
pub(crate) fn pairs(report: &Report) -> impl Iterator<Item = (Option<&ClaimResult>, &ClaimResult)> {
    let last = report.claims.iter().filter(|c| c.selection == Selection::Last);
    last.map(|last| {
        let key = |c: &ClaimResult| (c.id.clone(), c.model.clone());
        let same = |c: &&ClaimResult| c.selection == Selection::Best && key(c) == key(last);
        (report.claims.iter().find(same), last)
    })
}

fn claim_row(best: Option<&ClaimResult>, last: &ClaimResult) -> Row {
    let mut cells = vec![
        Cell::Code(last.id.clone()),
        Cell::Text(last.source.clone()),
        Cell::Code(last.model.model.clone()),
        Cell::number(paper(last)),
    ];
    cells.extend(best.map_or([Cell::Empty, Cell::Empty, Cell::Empty], three));
    cells.extend(three(last));
    Row::Cells(cells)
}

/// The claim's id, with the model where several answer it.
pub(crate) fn distinct_id(report: &Report, claim: &ClaimResult) -> String {
    let same = |c: &&ClaimResult| c.id == claim.id && c.selection == claim.selection;
    match report.claims.iter().filter(same).count() {
        1 => claim.id.clone(),
        _ => format!("{}, {}", claim.id, claim.model.model),
    }
}
