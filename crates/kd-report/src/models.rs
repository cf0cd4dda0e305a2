//! Tables of all models: how fast they learn, and where they end.

use crate::document::{Cell, Column, Row, Section, Table};
use crate::format::{count_cell, counted, number_cell, percent_cell, signed};
use crate::report::{ModelSummary, Report};
use crate::stats::{Difference, Stat};

/// Models of one training; the list is in order of appearance. Those of readings have a section of their own.
pub(crate) fn trainings(report: &Report) -> Vec<Vec<&ModelSummary>> {
    let read = |model: &&ModelSummary| {
        report.readings.as_ref().is_some_and(|all| all.trainings.contains(&model.id.training))
    };
    let mut groups: Vec<Vec<&ModelSummary>> = Vec::new();
    for model in report.models.iter().filter(|model| !read(model)) {
        match groups.iter_mut().find(|group| group[0].id.training == model.id.training) {
            Some(group) => group.push(model),
            None => groups.push(vec![model]),
        }
    }
    groups
}

/// When the models reach an accuracy.
pub(crate) fn epochs(report: &Report) -> Option<Section> {
    let rows: Vec<_> = trainings(report).into_iter().flat_map(epoch_rows).collect();
    let mut columns = Column::plain(&["model"]);
    for group in ["98.5 %", "99.0 %"] {
        columns.extend(Column::grouped(group, &["epochs", "against the baseline"]));
    }
    let caption = "The first epoch whose test accuracy reaches 98.5 and 99.0 percent. The number \
                   after the difference's ± is two standard errors."
        .into();
    Section::of_table("Epochs to an accuracy", Table { caption, columns, rows })
}

fn epoch_rows(models: Vec<&ModelSummary>) -> Vec<Row> {
    let reached = |model: &&ModelSummary| {
        model.epochs_to.iter().any(|to| to.epochs.iter().any(Option::is_some))
    };
    if !models.iter().any(|model| model.is_distilled()) || !models.iter().any(reached) {
        return Vec::new();
    }
    let baseline = models.iter().find(|model| model.is_baseline()).copied();
    let mut rows = vec![Row::Heading(models[0].id.training.clone())];
    rows.extend(models.iter().map(|model| epoch_row(model, baseline)));
    rows
}

fn epoch_row(model: &ModelSummary, baseline: Option<&ModelSummary>) -> Row {
    let mut cells = vec![Cell::Code(model.id.model.clone())];
    for (i, to) in model.epochs_to.iter().enumerate() {
        let ours = all_epochs(&to.epochs);
        let theirs = baseline
            .filter(|baseline| baseline.id.model != model.id.model)
            .and_then(|baseline| all_epochs(&baseline.epochs_to[i].epochs));
        let n_reached = to.epochs.iter().flatten().count();
        cells.push(match &ours {
            Some(stat) => count_cell(stat),
            None if n_reached == 0 => Cell::Text("never".into()),
            None => Cell::Text(format!("{n_reached} of {} seeds", to.epochs.len())),
        });
        cells.push(ours.zip(theirs).map_or(Cell::Empty, |(ours, theirs)| gain(&ours, &theirs)));
    }
    Row::Cells(cells)
}

/// `None` when a seed never got there.
fn all_epochs(epochs: &[Option<u64>]) -> Option<Stat> {
    let values = epochs.iter().map(|epoch| epoch.map(|epoch| epoch as f64));
    Stat::of(values.collect::<Option<_>>()?)
}

fn gain(ours: &Stat, theirs: &Stat) -> Cell {
    let decimals = usize::from(ours.n > 1 || theirs.n > 1);
    let noise = 2.0 * ours.standard_error(0.0).hypot(theirs.standard_error(0.0));
    let spread = match ours.std.and(theirs.std) {
        Some(_) => format!("± {noise:.decimals$}"),
        None => "n = 1".into(),
    };
    Cell::Number { main: signed(ours.mean - theirs.mean, decimals), spread }
}

/// Every model with its calibration and agreement.
pub(crate) fn section(report: &Report) -> Option<Section> {
    let has = Optional {
        gain: report.models.iter().any(|model| model.gain.is_some()),
        holdout: report.models.iter().any(|model| model.holdout.is_some()),
    };
    let mut columns = Column::plain(&["model", "objective"]);
    columns.extend(Column::grouped("best epoch", &["test", "epoch"]));
    let gain: &[&str] = if has.gain { &["\u{2212} baseline"] } else { &[] };
    let held_out: &[&str] = if has.holdout { &["held out"] } else { &[] };
    let last = [&["test"], gain, held_out, &["errors", "NLL", "ECE", "agreement"]].concat();
    columns.extend(Column::grouped("last epoch", &last));
    let mut rows = Vec::new();
    for group in trainings(report) {
        rows.push(Row::Heading(training_line(group[0])));
        rows.extend(group.iter().map(|model| row(model, &has)));
    }
    let gain = match has.gain {
        true => {
            " The baseline is the model of the same training that learned from labels alone; the \
             number after the difference's ± is its noise, two standard errors of the test images \
             or seeds: a difference inside it shows nothing."
        }
        false => "",
    };
    let caption = format!(
        "Accuracies, ECE (15 bins) and agreement with the teacher's predictions are in percent; \
         NLL in nats.{gain}"
    );
    let title = "All models, with calibration and agreement";
    Section::of_table(title, Table { caption, columns, rows })
}

/// Which columns there are that some reports lack.
struct Optional {
    gain: bool,
    holdout: bool,
}

fn training_line(model: &ModelSummary) -> String {
    format!(
        "{}: {}, {}, {}, {}",
        model.id.training,
        model.how.network,
        counted(model.how.n_parameters, "parameter"),
        counted(model.how.n_epochs as usize, "epoch"),
        counted(model.how.n_train, "training image")
    )
}

fn row(model: &ModelSummary, has: &Optional) -> Row {
    let evaluation = &model.evaluation;
    let optional = |stat: &Option<Stat>| stat.as_ref().map_or(Cell::Empty, percent_cell);
    let mut cells = vec![
        Cell::Code(model.id.model.clone()),
        Cell::Text(model.objective()),
        percent_cell(&model.best),
        count_cell(&model.best_epoch),
        percent_cell(&model.last),
    ];
    cells.extend(has.gain.then(|| model.gain.map_or(Cell::Empty, points)));
    cells.extend(has.holdout.then(|| optional(&model.holdout)));
    cells.push(count_cell(&evaluation.errors));
    cells.push(number_cell(&evaluation.nll, 1.0, 4));
    cells.push(percent_cell(&evaluation.ece));
    cells.push(optional(&evaluation.agreement));
    Row::Cells(cells)
}

/// A difference of fractions with its noise, in points.
pub(crate) fn points(Difference { value, noise }: Difference) -> Cell {
    Cell::Number { main: signed(100.0 * value, 2), spread: format!("± {:.2}", 100.0 * noise) }
}
