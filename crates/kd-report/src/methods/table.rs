//! Tables of methods: what they gain, and what they cost.

use super::{Method, Methods};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::format::{effect_cells, number_cell, percent_cell, thousands};
use crate::paired::Effect;
use crate::report::{ModelSummary, Report};
use crate::stats::Stat;

/// How accurate the methods are; then how their probabilities are, and what they cost.
pub(super) fn blocks(report: &Report, methods: &Methods) -> [Block; 2] {
    [Block::Table(gains(methods)), Block::Table(others(report, methods))]
}

const GAINS: &str = "accuracy of the test images after the last epoch, percent. A difference is the \
    mean over seeds of the method's accuracy minus the other's with the same seed, in points, with Student's 95 \
    percent interval. Its noise is what is left of all accuracies beside the means of methods and seeds (randomized \
    blocks): a method that is much noisier than the others is told too easily. Its p-value is corrected for the number \
    of methods in its column (Holm), so that the chance of any wrong verdict in a column is at most 5 percent. The \
    rank is by mean accuracy; its range holds 90 percent of the ranks that seeds drawn anew from these seeds give, \
    which of few seeds is too narrow.";

fn gains(methods: &Methods) -> Table {
    let mut columns = Column::plain(&["method", "test"]);
    if methods.kd.is_some() {
        columns.extend(Column::grouped("against tuned distillation", &EFFECT));
    }
    columns.extend(Column::grouped("against labels alone", &EFFECT));
    columns.extend(Column::grouped("rank", &["place", "range"]));
    let row = |one: &Method| {
        let mut cells = vec![Cell::Code(one.name.clone()), percent_cell(&one.top1)];
        if methods.kd.is_some() {
            cells.extend(three(one.over_kd));
        }
        cells.extend(three(one.over_labels));
        let [low, high] = one.rank.range;
        cells.push(Cell::number(one.rank.place.to_string()));
        cells.push(Cell::Text(format!("{low}\u{2013}{high}")));
        Row::Cells(cells)
    };
    let rows = methods.methods.iter().map(row).collect();
    Table { caption: format!("{}: {GAINS}", methods.training), columns, rows }
}

const EFFECT: [&str; 3] = ["points", "p", "verdict"];

fn three(effect: Option<Effect>) -> [Cell; 3] {
    effect.map_or([Cell::Empty, Cell::Empty, Cell::Empty], effect_cells)
}

const OTHERS: &str = "Agreement with the teacher's predictions and ECE (15 bins) are percent of the test \
    images, NLL is in nats. Images count once for each pass forward and backward through the student; the \
    teacher's are forward alone, as many as the method asks for: those of a cohort share them. Costs are \
    images through the student relative to tuned distillation, or to labels alone where there is none.";

fn others(report: &Report, methods: &Methods) -> Table {
    let names = ["method", "settings", "chosen of", "agreement", "NLL", "ECE", "student's images"];
    let mut columns = Column::plain(&names);
    columns.extend(Column::plain(&["teacher's images", "cost"]));
    let row = |one: &Method| {
        let is_it = |model: &&ModelSummary| {
            model.id.training == methods.training && model.id.model == one.name
        };
        let model = report.models.iter().find(is_it);
        Row::Cells(cells(one, model))
    };
    let rows = methods.methods.iter().map(row).collect();
    Table { caption: OTHERS.into(), columns, rows }
}

fn cells(one: &Method, model: Option<&ModelSummary>) -> Vec<Cell> {
    let evaluation = model.map(|model| &model.evaluation);
    let percent = |stat: Option<&Stat>| stat.map_or(Cell::Empty, percent_cell);
    let images = |n: Option<u64>| n.map_or(Cell::Empty, |n| Cell::number(thousands(n as usize)));
    let cost = one.cost.map_or(Cell::Empty, |cost| Cell::number(format!("{cost:.2}")));
    vec![
        Cell::Code(one.name.clone()),
        Cell::Words(model.map_or(String::new(), ModelSummary::objective)),
        Cell::number(one.n_candidates.to_string()),
        percent(evaluation.and_then(|e| e.agreement.as_ref())),
        evaluation.map_or(Cell::Empty, |e| number_cell(&e.nll, 1.0, 4)),
        percent(evaluation.map(|e| &e.ece)),
        images(one.compute.map(|compute| compute.student_passes)),
        images(one.compute.map(|compute| compute.teacher_asked)),
        cost,
    ]
}
