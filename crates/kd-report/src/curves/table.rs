//! Errors at the end and at the best point, of students and teachers.

use crate::document::{Block, Cell, Column, Row, Table};
use crate::format::{number_cell, percent_cell};
use crate::ordered::Ordered;
use crate::report::{ModelSummary, Report};
use crate::stats::Stat;

use super::{Curves, Errors, StudentCurve, error};

/// Every model of the run, also those without a curve: teachers stand among them.
pub(super) fn block(report: &Report, curves: &Curves) -> Block {
    let mut columns = Column::plain(&["model", "objective"]);
    let tops: &[&str] = if curves.few_classes { &["top-1"] } else { &["top-1", "top-5"] };
    columns.extend(Column::grouped("training set, last pass", tops));
    columns.extend(Column::grouped("test set, end", tops));
    columns.extend(Column::grouped("test set, best point", &[tops, &["epoch"]].concat()));
    let caption = "Errors, percent. The training set is seen augmented and by a network that is \
                   still learning, so that its errors may lie above those on the test set. The \
                   best point is the one with the fewest top-1 errors on the test set: it is chosen on \
                   these images, and flatters."
        .into();
    let mut rows = rows(report, curves);
    if curves.few_classes {
        rows.iter_mut().for_each(without_top5);
    }
    Block::Table(Table { caption, columns, rows })
}

/// With five classes or fewer, the five largest logits are all there are.
fn without_top5(row: &mut Row) {
    if let Row::Cells(cells) = row {
        for place in [7, 5, 3] {
            cells.remove(place);
        }
    }
}

/// A model of the table: summarized when it ended, with a curve where points were recorded.
#[derive(Default)]
struct Entry<'a> {
    summary: Option<&'a ModelSummary>,
    curve: Option<&'a StudentCurve>,
}

fn rows(report: &Report, curves: &Curves) -> Vec<Row> {
    let mut trainings: Ordered<&str, (String, Vec<Entry<'_>>)> = Ordered::default();
    for summary in &report.models {
        let curve = curves.student(&summary.id);
        let training = trainings.entry(&summary.id.training);
        training.0.clone_from(&summary.id.training);
        training.1.push(Entry { summary: Some(summary), curve });
    }
    for curve in curves.students.iter().filter(|student| !student.finished) {
        let training = trainings.entry(&curve.id.training);
        training.0.clone_from(&curve.id.training);
        training.1.push(Entry { summary: None, curve: Some(curve) });
    }
    let mut rows = Vec::new();
    for (training, entries) in trainings.values() {
        rows.push(Row::Heading(training.clone()));
        rows.extend(teachers(curves, training));
        rows.extend(entries.iter().map(row));
    }
    rows
}

/// Teachers from files, which have no training of their own.
fn teachers<'a>(curves: &'a Curves, training: &'a str) -> impl Iterator<Item = Row> + 'a {
    curves.teachers.iter().filter(move |teacher| teacher.training == training).map(|teacher| {
        let name = Cell::Text(format!("its teacher, {}, from a file", teacher.network));
        let mut cells = vec![name, Cell::Empty, Cell::Empty, Cell::Empty];
        cells.extend(pair(Some(&teacher.errors)));
        cells.extend([Cell::Empty, Cell::Empty, Cell::Empty]);
        Row::Cells(cells)
    })
}

fn row(entry: &Entry<'_>) -> Row {
    let name = entry.summary.map(|model| &model.id).or(entry.curve.map(|curve| &curve.id));
    let objective = entry.summary.map_or("not finished".into(), ModelSummary::objective);
    let mut cells = vec![
        Cell::Code(name.map(|id| id.model.clone()).unwrap_or_default()),
        Cell::Text(objective),
    ];
    cells.extend(pair(entry.curve.and_then(|curve| curve.train.as_ref())));
    cells.extend(match (entry.curve, entry.summary) {
        (Some(curve), _) => at_points(curve),
        (None, Some(summary)) => at_epochs(summary),
        (None, None) => Vec::new(),
    });
    Row::Cells(cells)
}

fn at_points(curve: &StudentCurve) -> Vec<Cell> {
    let mut cells = pair(Some(&curve.last)).to_vec();
    cells.extend(pair(Some(&curve.best)));
    cells.push(number_cell(&curve.best_epoch, 1.0, 2));
    cells
}

/// Of a model whose test accuracy alone was recorded, once in so many epochs.
fn at_epochs(model: &ModelSummary) -> Vec<Cell> {
    let errors = |accuracy: &Stat| Stat::of(accuracy.values.iter().map(|v| error(*v)).collect());
    let cell = |accuracy| errors(accuracy).as_ref().map_or(Cell::Empty, percent_cell);
    vec![
        cell(&model.last),
        cell(&model.evaluation.top5),
        cell(&model.best),
        Cell::Empty,
        number_cell(&model.best_epoch, 1.0, 2),
    ]
}

fn pair(errors: Option<&Errors>) -> [Cell; 2] {
    errors.map_or([Cell::Empty, Cell::Empty], |e| [percent_cell(&e.top1), percent_cell(&e.top5)])
}
