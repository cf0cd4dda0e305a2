//! The report's heat maps and charts.

use kd_core::Result;
use kd_core::record::CorrectionMethod;

use crate::chart::{self, Bars, Hue, Lines, Series, XAxis};
use crate::comparison::{Paper, Selection};
use crate::document::{Block, Cell, Column, Figure, Grid, Legend, Panel, Row, Section, Table};
use crate::format::{count_cell, number_cell, percent, signed};
use crate::report::{EvaluationSummary, ModelSummary, Report};
use crate::sections::trainings;

/// Heat maps of every training that has a grid of alpha and temperature.
pub(crate) fn grids(report: &Report) -> Option<Section> {
    let blocks: Vec<_> =
        trainings(report).iter().flat_map(|models| training_grids(report, models)).collect();
    Section::of("The grid of alpha and temperature", blocks)
}

/// One number per alpha and temperature, fractions.
type Values = Vec<Vec<Option<f64>>>;

fn training_grids(report: &Report, models: &[&ModelSummary]) -> Vec<Block> {
    let in_paper = |m: &&&ModelSummary| m.cell().and_then(|_| paper_value(report, m)).is_some();
    let known: Vec<_> = models.iter().filter(in_paper).copied().collect();
    let paper = Axes::of(&known).values(&known, |m| paper_value(report, m));
    let ours = Axes::of(models).values(models, |m| Some(m.best.mean));
    if ours.iter().flatten().count() < 2 {
        return Vec::new();
    }
    let range = range(paper.iter().chain(&ours).flatten().flatten().copied());
    let mut grids = vec![Axes::of(models).grid("ours, best epoch", shaded(&ours, range))];
    if known.len() > 1 {
        grids.insert(0, Axes::of(&known).grid("paper", shaded(&paper, range)));
        if report.official_data {
            let here = Axes::of(&known).values(&known, |m| Some(m.best.mean));
            let cells = differences(&paper, &here);
            grids.push(Axes::of(&known).grid("ours \u{2212} paper, points", cells));
        }
    }
    vec![Block::Text(grid_text(report, models)), Block::Grids(grids)]
}

/// The settings that a grid of models covers, in order.
struct Axes {
    alphas: Vec<f64>,
    ts: Vec<f64>,
}

impl Axes {
    fn of(models: &[&ModelSummary]) -> Self {
        let sorted = |pick: fn((f64, f64)) -> f64| {
            let mut values: Vec<f64> = models.iter().filter_map(|m| m.cell()).map(pick).collect();
            values.sort_by(f64::total_cmp);
            values.dedup_by(|a, b| a.total_cmp(b).is_eq());
            values
        };
        Self { alphas: sorted(|(alpha, _)| alpha), ts: sorted(|(_, t)| t) }
    }

    fn values(
        &self,
        models: &[&ModelSummary],
        of: impl Fn(&ModelSummary) -> Option<f64>,
    ) -> Values {
        let at = |a: f64, t: f64| models.iter().find(|m| m.cell() == Some((a, t)));
        let row = |a: &f64| self.ts.iter().map(|t| at(*a, *t).and_then(|m| of(m))).collect();
        self.alphas.iter().map(row).collect()
    }

    fn grid(&self, title: &'static str, cells: Vec<Vec<Option<(String, f64)>>>) -> Grid {
        let rows = self.alphas.iter().map(|alpha| format!("α {alpha}")).collect();
        let columns = self.ts.iter().map(|t| format!("T {t}")).collect();
        Grid { title, rows, columns, cells }
    }
}

fn paper_value(report: &Report, model: &ModelSummary) -> Option<f64> {
    let of_model =
        report.claims.iter().filter(|c| (&c.model, c.selection) == (&model.id, Selection::Best));
    of_model.filter_map(|c| if let Paper::Value(v) = c.paper { Some(v) } else { None }).next()
}

fn grid_text(report: &Report, models: &[&ModelSummary]) -> String {
    let baseline = models.iter().find(|model| model.is_baseline()).map(|model| {
        let paper = paper_value(report, model).map(percent);
        let paper = paper.map_or(String::new(), |paper| format!(", the paper's {paper}"));
        format!(" Without a teacher: ours {}{paper}.", percent(model.best.mean))
    });
    let training = &models[0].id.training;
    format!("`{training}`: best test accuracy, percent.{}", baseline.unwrap_or_default())
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
}

fn shaded(values: &Values, (low, high): (f64, f64)) -> Vec<Vec<Option<(String, f64)>>> {
    let shade = |value: f64| (percent(value), (value - low) / (high - low).max(f64::MIN_POSITIVE));
    values.iter().map(|row| row.iter().map(|value| value.map(shade)).collect()).collect()
}

fn differences(paper: &Values, ours: &Values) -> Vec<Vec<Option<(String, f64)>>> {
    let row = |(paper, ours): (&Vec<Option<f64>>, &Vec<Option<f64>>)| -> Vec<Option<f64>> {
        let pairs = ours.iter().zip(paper);
        pairs.map(|(ours, paper)| ours.zip(*paper).map(|(o, p)| 100.0 * (o - p))).collect()
    };
    let points: Values = paper.iter().zip(ours).map(row).collect();
    let largest = points.iter().flatten().flatten().fold(1e-9_f64, |m, d| m.max(d.abs()));
    let shade = |d: f64| (signed(d, 2), d / largest);
    points.iter().map(|row| row.iter().map(|value| value.map(shade)).collect()).collect()
}

/// Test accuracy against epoch: one figure for each training with a teacher, its panels by
/// temperature, and one for all models that learn from labels alone. Models whose errors are
/// drawn elsewhere are left out.
///
/// # Errors
/// When a chart cannot be drawn.
pub(crate) fn convergence(report: &Report) -> Result<Option<Section>> {
    let mut blocks = Vec::new();
    let mut alone = Vec::new();
    for models in trainings(report) {
        let shown = |model: &&ModelSummary| {
            let curves = report.curves.as_ref();
            let elsewhere = curves.is_some_and(|curves| curves.shows(model));
            model.curve.len() > 1 && !elsewhere
        };
        let drawn = models.into_iter().filter(shown).collect::<Vec<_>>();
        match drawn.iter().any(|model| model.is_distilled()) {
            true => blocks.push(Block::Figure(by_temperature(&drawn)?)),
            false => alone.extend(drawn),
        }
    }
    if !alone.is_empty() {
        blocks.insert(0, Block::Figure(on_labels(&alone)?));
    }
    Ok(Section::of("Convergence", blocks))
}

fn on_labels(models: &[&ModelSummary]) -> Result<Figure> {
    let colored: Vec<_> = models.iter().enumerate().map(|(i, model)| (*model, Some(i))).collect();
    let name = |model: &ModelSummary| match model.id.model == model.id.training {
        true => model.id.training.clone(),
        false => model.id.to_string(),
    };
    let legend = colored.iter().map(|(m, hue)| Legend { label: name(m), hue: *hue }).collect();
    let svg = chart::lines(&lines(&colored, axis(models)))?;
    let caption = "Without a teacher: test accuracy (percent) by epoch.".to_owned();
    let panel = Panel { title: String::new(), words: caption.clone(), svg };
    Ok(Figure { caption, legend, width: 19, panels: vec![panel] })
}

fn by_temperature(models: &[&ModelSummary]) -> Result<Figure> {
    let (models, below) = without_those_far_below(models);
    let models = &models;
    let Axes { alphas, ts } = Axes::of(models);
    let others: Vec<_> = models.iter().filter(|m| m.cell().is_none()).copied().collect();
    let hue = |model: &ModelSummary| -> Hue {
        let alpha = model.cell().map(|(alpha, _)| alpha);
        let place =
            alphas.iter().position(|a| alpha.is_some_and(|alpha| a.total_cmp(&alpha).is_eq()));
        let other = others.iter().position(|other| other.id.model == model.id.model);
        place.or(other.filter(|&other| other > 0).map(|other| alphas.len() + other - 1))
    };
    let panel = |t: &f64| -> Result<Panel> {
        let here = |m: &&ModelSummary| m.cell().is_none_or(|(_, at)| at.total_cmp(t).is_eq());
        let colored: Vec<_> = models.iter().copied().filter(here).map(|m| (m, hue(m))).collect();
        Ok(Panel::new(format!("T = {t}"), chart::lines(&lines(&colored, axis(models)))?))
    };
    let labels = others.iter().map(|m| Legend { label: m.id.model.clone(), hue: hue(m) });
    let cells = alphas.iter().enumerate().map(|(i, a)| (format!("α = {a}"), Some(i)));
    let cells = cells.map(|(label, hue)| Legend { label, hue });
    let training = &models[0].id.training;
    Ok(Figure {
        caption: format!(
            "{training}: test accuracy (percent) by epoch, one panel per temperature. Lines are \
             means over seeds, bands ± one standard deviation; the axis starts where the first \
             quarter of the epochs ends.{below}"
        ),
        width: 19,
        legend: labels.chain(cells).collect(),
        panels: ts.iter().map(panel).collect::<Result<_>>()?,
    })
}

/// Where a class is missing, models without a teacher cannot come near the others: their lines
/// would flatten all differences, and are told in words instead.
fn without_those_far_below<'a>(models: &[&'a ModelSummary]) -> (Vec<&'a ModelSummary>, String) {
    let far = |m: &&&ModelSummary| m.omitted_class.is_some() && !m.is_distilled();
    let shown = models.iter().filter(|m| !far(m)).copied().collect();
    let told = models.iter().filter(far);
    let told = told.map(|m| {
        format!(" Below the axis: {}, which ends at {}.", m.id.model, percent(m.last.mean))
    });
    (shown, told.collect())
}

fn lines(models: &[(&ModelSummary, Hue)], y: (f64, f64)) -> Lines {
    let points = |model: &ModelSummary| {
        let point = |(epoch, stat): &(u64, crate::stats::Stat)| {
            (*epoch as f64, 100.0 * stat.mean, 100.0 * stat.std.unwrap_or(0.0))
        };
        model.curve.iter().map(point).collect()
    };
    let series = models.iter().map(|(model, hue)| Series { hue: *hue, points: points(model) });
    let n_epochs = models.iter().filter_map(|(m, _)| m.curve.last()).map(|(e, _)| *e).max();
    let x = XAxis::epochs(n_epochs.unwrap_or(1));
    Lines { x, y, series: series.collect(), mark: 0, size: chart::SMALL }
}

/// The y axis, in percent: from the lowest mean after a quarter of the epochs to the highest.
fn axis(models: &[&ModelSummary]) -> (f64, f64) {
    let late = models.iter().flat_map(|m| m.curve.iter().skip(m.curve.len() / 4));
    let (low, high) = range(late.map(|(_, stat)| 100.0 * stat.mean));
    let margin = (0.06 * (high - low)).max(0.02);
    (low - margin, high + margin)
}

/// Errors by class, where a class was left out of the training.
///
/// # Errors
/// When a chart cannot be drawn.
pub(crate) fn class_errors(report: &Report) -> Result<Option<Section>> {
    let mut blocks = Vec::new();
    for models in trainings(report) {
        if let Some(class) = models.iter().find_map(|model| model.omitted_class) {
            blocks.extend(bar_chart(&models, class)?.map(Block::Figure));
            blocks.push(Block::Table(class_table(&models, class)));
        }
    }
    Ok(Section::of("A class that was never seen: errors by class", blocks))
}

/// The model without a teacher, the one that answers the paper's number (else the first that was
/// distilled), and its corrections.
fn shown_in_bars<'a>(models: &[&'a ModelSummary]) -> Vec<(String, &'a EvaluationSummary)> {
    let distilled = || models.iter().filter(|model| model.is_distilled());
    let chosen = distilled().find(|model| model.claim.is_some()).or(distilled().next());
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

fn bar_chart(models: &[&ModelSummary], class: u32) -> Result<Option<Figure>> {
    let shown = shown_in_bars(models);
    let heights = |e: &EvaluationSummary| e.class_errors.iter().map(|stat| stat.mean).collect();
    let hue = |i: usize| i.checked_sub(1);
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

fn class_table(models: &[&ModelSummary], class: u32) -> Table {
    let n_classes = models.iter().map(|m| m.evaluation.class_errors.len()).max().unwrap_or(0);
    let column = |group, name: String| Column { group, name };
    let mut columns = Column::plain(&["model", "bias", "all"]);
    columns.extend((0..n_classes).map(|c| column("errors by class", c.to_string())));
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
            Cell::Number { main: format!("{:.decimals$}", stat.mean), spread: String::new() }
        })
    };
    let mut cells = vec![name, bias, count_cell(&evaluation.errors)];
    cells.extend((0..n_classes).map(mean));
    Row::Cells(cells)
}
