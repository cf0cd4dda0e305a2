//! Results by class: accuracies, what is taken for what, and a class that was never seen.

use kd_core::Result;
use kd_core::record::CorrectionMethod;

use crate::chart::{self, Bars, Hue, hue};
use crate::document::{
    Block, Cell, Column, Figure, Grid, Legend, Panel, Row, Section, Shaded, Table,
};
use crate::evaluation::EvaluationSummary;
use crate::format::{count_cell, number_cell};
use crate::models::trainings;
use crate::report::{ModelSummary, Report};

/// Up to so many classes, each has a column.
const N_COLUMNS: usize = 12;
/// Of more classes, so many mistakes of a model are told.
const N_MISTAKES: usize = 5;

const CAPTION: &str = "Percent of the test images of each class that are classified correctly after \
    the last epoch, means over seeds. Shown of each training: the model that learned from labels, \
    and of the others the one with the highest accuracy here.";

/// What each class is taken for, for the models that are worth a look.
pub(crate) fn section(report: &Report) -> Option<Section> {
    let trainings = trainings(report);
    let groups: Vec<_> = trainings.iter().map(|models| shown(models)).collect();
    let n_classes = groups.iter().flatten().map(|m| m.evaluation.confusion.len()).max()?;
    let blocks = match n_classes {
        0 | 1 => Vec::new(),
        2..=N_COLUMNS => {
            vec![Block::Table(accuracies(report, &groups, n_classes)), confusions(report, &groups)]
        }
        _ => vec![Block::Table(mistakes(report, &groups))],
    };
    Section::of("By class", blocks)
}

/// The models of one training that stand for all: without a teacher, and the best of the others.
fn shown<'a>(models: &[&'a ModelSummary]) -> Vec<&'a ModelSummary> {
    let known = || models.iter().copied().filter(|m| !m.evaluation.confusion.is_empty());
    let baseline = known().find(|model| model.is_baseline());
    let others = known().filter(|model| !model.is_baseline());
    let best = others.min_by(|a, b| b.last.mean.total_cmp(&a.last.mean));
    [baseline, best].into_iter().flatten().collect()
}

fn accuracies(report: &Report, groups: &[Vec<&ModelSummary>], n_classes: usize) -> Table {
    let mut columns = Column::plain(&["model"]);
    let name = |class| report.provenance.class(class);
    columns.extend((0..n_classes).map(|c| Column { group: "class", name: name(c) }));
    let cell = |model: &ModelSummary, class: usize| {
        let (errors, images) = (&model.evaluation.class_errors, &model.evaluation.images);
        let known = errors.get(class).zip(images.get(class)).filter(|(_, images)| **images > 0);
        known.map_or(Cell::Empty, |(errors, images)| {
            let share = 1.0 - errors.mean / *images as f64;
            Cell::number(format!("{:.1}", 100.0 * share))
        })
    };
    let row = |model: &&ModelSummary| {
        let name = Cell::Code(model.id.to_string());
        let cells = (0..n_classes).map(|class| cell(model, class));
        Row::Cells(std::iter::once(name).chain(cells).collect())
    };
    Table { caption: CAPTION.into(), columns, rows: groups.iter().flatten().map(row).collect() }
}

fn confusions(report: &Report, groups: &[Vec<&ModelSummary>]) -> Block {
    let text = "Rows: the label; columns: the prediction. Test images, means over seeds; the color \
                is the share of the row, blue where it is right.";
    let grids = groups.iter().flatten().map(|model| confusion(report, model)).collect();
    let blocks = vec![Block::Text(text.into()), Block::Grids(grids)];
    Block::Folded { title: "Confusion matrices", blocks }
}

fn confusion(report: &Report, model: &ModelSummary) -> Grid {
    let counts = &model.evaluation.confusion;
    let names: Vec<_> = (0..counts.len()).map(|class| report.provenance.class(class)).collect();
    let cells = counts.iter().enumerate().map(|(label, row)| shaded(label, row)).collect();
    Grid { title: model.id.to_string(), rows: names.clone(), columns: names, cells }
}

/// Each count that is not 0, with its share of the row.
fn shaded(label: usize, row: &[f64]) -> Vec<Option<Shaded>> {
    let total = row.iter().sum::<f64>();
    let cell = |(prediction, &count): (usize, &f64)| {
        let share = count / total;
        let shade = if label == prediction { share } else { -share };
        (count > 0.0).then(|| Shaded::plain(whole(count), shade))
    };
    row.iter().enumerate().map(cell).collect()
}

/// One decimal where a mean over seeds is not whole.
fn whole(count: f64) -> String {
    let decimals = usize::from((count - count.round()).abs() > 1e-9);
    format!("{count:.decimals$}")
}

/// Of many classes, the most frequent mistakes.
fn mistakes(report: &Report, groups: &[Vec<&ModelSummary>]) -> Table {
    let mut rows = Vec::new();
    for model in groups.iter().flatten() {
        rows.push(Row::Heading(model.id.to_string()));
        rows.extend(mistakes_of(report, &model.evaluation));
    }
    let caption =
        "The most frequent mistakes after the last epoch: test images of a class that are \
                   taken for another, means over seeds. Shown of each training: the model that \
                   learned from labels, and of the others the one with the highest accuracy here."
            .into();
    Table { caption, columns: Column::plain(&["label", "taken for", "images", "of"]), rows }
}

fn mistakes_of(report: &Report, evaluation: &EvaluationSummary) -> Vec<Row> {
    let counts = &evaluation.confusion;
    let pairs = (0..counts.len()).flat_map(|a| (0..counts.len()).map(move |b| (a, b)));
    let mut wrong: Vec<_> = pairs.filter(|(a, b)| a != b && counts[*a][*b] > 0.0).collect();
    wrong.sort_by(|x, y| counts[y.0][y.1].total_cmp(&counts[x.0][x.1]));
    let row = |(label, prediction): (usize, usize)| {
        let of = evaluation.images.get(label).copied().unwrap_or(0).to_string();
        let count = whole(counts[label][prediction]);
        let [label, prediction] = [label, prediction].map(|c| report.provenance.class(c));
        Row::Cells([label, prediction, count, of].map(Cell::number).into())
    };
    wrong.into_iter().take(N_MISTAKES).map(row).collect()
}

/// Errors by class, where a class was left out of the training.
///
/// # Errors
/// When a chart cannot be drawn.
pub(crate) fn unseen(report: &Report) -> Result<Option<Section>> {
    let mut blocks = Vec::new();
    for models in trainings(report) {
        if let Some(class) = models.iter().find_map(|model| model.how.omitted_class) {
            let name = report.provenance.class(class as usize);
            blocks.extend(bar_chart(&models, &name)?.map(Block::Figure));
            blocks.push(Block::Table(class_table(report, &models, &name)));
        }
    }
    Ok(Section::of("A class that was never seen: errors by class", blocks))
}

/// The model without a teacher, the one that answers the paper's number (else the first that was
/// distilled), and its corrections.
fn shown_in_bars<'a>(models: &[&'a ModelSummary]) -> Vec<(String, &'a EvaluationSummary)> {
    let distilled = || models.iter().filter(|model| model.is_distilled());
    let chosen = distilled().find(|model| model.how.claim.is_some()).or(distilled().next());
    let baseline = models.iter().find(|model| model.is_baseline());
    let both = [baseline, chosen].into_iter().flatten();
    let mut shown: Vec<_> = both.map(|model| (model.id.model.clone(), &model.evaluation)).collect();
    if let Some(model) = chosen {
        let corrected =
            |method: CorrectionMethod| format!("{}, {} correction", model.id.model, method.name());
        shown.extend(model.corrections.iter().map(|c| (corrected(c.method), &c.evaluation)));
    }
    shown
}

fn bar_chart(models: &[&ModelSummary], class: &str) -> Result<Option<Figure>> {
    let shown = shown_in_bars(models);
    let heights = |e: &EvaluationSummary| e.class_errors.iter().map(|stat| stat.mean).collect();
    let series: Vec<(Hue, Vec<f64>)> =
        shown.iter().enumerate().map(|(i, (_, e))| (hue(i), heights(e))).collect();
    if series.iter().all(|(_, heights)| heights.is_empty()) {
        return Ok(None);
    }
    let legend = shown.into_iter().enumerate().map(|(i, (label, _))| Legend { label, hue: hue(i) });
    let training = &models[0].id.training;
    let svg = chart::bars(&Bars { y_max: bar_limit(&series), series })?;
    let words = format!("{training}: test errors by class, as in the table below.");
    Ok(Some(Figure {
        caption: format!(
            "{training}: test errors by class, last epoch, mean over seeds. Class {class} is not in \
             the training set; a bar that leaves the chart carries its number."
        ),
        legend: legend.collect(),
        width: 48,
        panels: vec![Panel { title: String::new(), words, svg }],
    }))
}

/// A little above the highest bar, but for one that is more than four times all others: without a
/// teacher, every image of the missing class is wrong.
fn bar_limit(series: &[(Hue, Vec<f64>)]) -> f64 {
    let mut heights: Vec<f64> = series.iter().flat_map(|(_, heights)| heights).copied().collect();
    heights.sort_by(|a, b| b.total_cmp(a));
    let second = heights.get(1).copied().unwrap_or(0.0);
    1.08 * heights
        .first()
        .copied()
        .filter(|first| *first <= 4.0 * second)
        .unwrap_or(second)
        .max(1.0)
}

fn class_table(report: &Report, models: &[&ModelSummary], class: &str) -> Table {
    let n_classes = models.iter().map(|m| m.evaluation.class_errors.len()).max().unwrap_or(0);
    let column = |group, name: String| Column { group, name };
    let mut columns = Column::plain(&["model", "bias", "all"]);
    let name = |class| report.provenance.class(class);
    columns.extend((0..n_classes).map(|c| column("errors by class", name(c))));
    let mut rows = Vec::new();
    for model in models {
        let name = Cell::Code(model.id.model.clone());
        rows.push(class_row(name, Cell::Empty, &model.evaluation, n_classes));
        rows.extend(model.corrections.iter().map(|c| {
            let name = Cell::Text(format!("\u{21b3} {}", c.method.name()));
            class_row(name, number_cell(&c.bias, 1.0, 2), &c.evaluation, n_classes)
        }));
    }
    let caption = format!(
        "Errors on the test images after the last epoch; by class, means over seeds. Below a \
         model: the same with a constant (bias) added to the logit of class {class}, either tuned \
         on the test set, as Hinton et al. did, or from the training data alone (label-free)."
    );
    Table { caption, columns, rows }
}

fn class_row(name: Cell, bias: Cell, evaluation: &EvaluationSummary, n_classes: usize) -> Row {
    let mean = |class: usize| {
        evaluation.class_errors.get(class).map_or(Cell::Empty, |stat| {
            let decimals = usize::from(stat.n > 1);
            Cell::number(format!("{:.decimals$}", stat.mean))
        })
    };
    let mut cells = vec![name, bias, count_cell(&evaluation.errors)];
    cells.extend((0..n_classes).map(mean));
    Row::Cells(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confusions_are_shaded_by_the_share_of_their_row() {
        let row = shaded(0, &[2.5, 0.0, 7.5]);
        let plain = |text: &str, shade| Some(Shaded::plain(text.into(), shade));
        assert_eq!(row, [plain("2.5", 0.25), None, plain("7.5", -0.75)]);
    }
}
