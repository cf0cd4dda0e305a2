//! Charts of the course of trainings: test accuracy, objective and learning rate by epoch.

use kd_core::Result;

use crate::chart::{Hue, Lines, Series, XAxis};
use crate::document::{Block, Figure, Legend, Plot, Section};
use crate::format::percent;
use crate::grids::{Axes, range};
use crate::models::trainings;
use crate::report::{ModelSummary, Report};
use crate::stats::Stat;

/// From so many epochs on, the axis of the accuracy leaves out the beginning.
const MANY: usize = 12;

const TEXT: &str = "Lines are means over seeds, bands ± one standard deviation. Of 12 epochs or \
    more, the axis of the test accuracy starts where the first quarter ends. The objective is what a training \
    makes small: its mean over the training images of an epoch, while the network learns, in \
    nats. For labels that is their cross entropy; for a distilled model \
    α T² H(teacher, model) + (1 − α) H(labels, model). H is a cross entropy there too, not the KL \
    divergence that other programs print: it is larger by the entropy of the teacher's \
    probabilities at T, which no training changes, so that the objective does not fall to 0, and \
    depends on α and T more than on the epoch. Beside a teacher it is therefore drawn above each \
    line's own lowest value.";

/// One figure for each training with a teacher, its panels by temperature, and one for all models
/// that learn from labels alone. An accuracy whose errors are drawn elsewhere is left out, and so are methods that are set beside each other.
///
/// # Errors
/// When a chart cannot be drawn.
pub(crate) fn section(report: &Report) -> Result<Option<Section>> {
    let compared = |models: &Vec<&ModelSummary>| {
        report.methods.iter().any(|methods| methods.training == models[0].id.training)
    };
    let drawn = trainings(report).into_iter().filter(|models| !compared(models));
    let drawn = drawn.map(|mut models| {
        models.retain(|model| model.losses.len() > 1);
        models
    });
    let (distilled, alone): (Vec<_>, Vec<_>) =
        drawn.partition(|models| models.iter().any(|model| model.is_distilled()));
    let alone = alone.concat();
    let mut blocks = Vec::new();
    if !alone.is_empty() {
        blocks.push(Block::Figure(on_labels(report, &alone)?));
    }
    for models in &distilled {
        let known = alone.iter().any(|model| model.rates == models[0].rates);
        blocks.push(Block::Figure(by_temperature(report, models, known)?));
    }
    if !blocks.is_empty() {
        blocks.insert(0, Block::Text(TEXT.into()));
    }
    Ok(Section::of("The course of training", blocks))
}

/// Numbers by epoch.
type Course = Vec<(u64, Stat)>;
/// A model and the color of its line.
type Drawn<'a> = (&'a ModelSummary, Hue);

fn on_labels(report: &Report, models: &[&ModelSummary]) -> Result<Figure> {
    let colored: Vec<Drawn<'_>> = models.iter().copied().zip((0..).map(Some)).collect();
    let name = |model: &ModelSummary| match model.id.model == model.id.training {
        true => model.id.training.clone(),
        false => model.id.to_string(),
    };
    let legend = colored.iter().map(|(m, hue)| Legend { label: name(m), hue: *hue });
    let mut plots = Vec::new();
    plots.extend(accuracy(report, String::new(), &colored, models));
    plots.push(objective(&colored));
    plots.extend(rate(&colored));
    Figure::of("Without soft targets.".into(), legend.collect(), plots)
}

/// The learning rate is left out where it is known from another figure.
fn by_temperature(report: &Report, all: &[&ModelSummary], known: bool) -> Result<Figure> {
    let (models, below) = without_those_far_below(all);
    let Axes { alphas, ts } = Axes::of(&models);
    let others: Vec<_> = models.iter().filter(|m| m.cell().is_none()).copied().collect();
    let hue = |model: &ModelSummary| -> Hue {
        let alpha = model.cell().map(|(alpha, _)| alpha);
        let place =
            alphas.iter().position(|a| alpha.is_some_and(|alpha| a.total_cmp(&alpha).is_eq()));
        let other = others.iter().position(|other| other.id == model.id);
        place.or(other.filter(|&other| other > 0).map(|other| alphas.len() + other - 1))
    };
    let at = |t: &f64| -> Vec<Drawn<'_>> {
        let here = |m: &&ModelSummary| m.cell().is_none_or(|(_, at)| at.total_cmp(t).is_eq());
        models.iter().copied().filter(here).map(|m| (m, hue(m))).collect()
    };
    let of_t = |t: &f64| accuracy(report, format!("T = {t}: "), &at(t), &models);
    let mut plots: Vec<_> = ts.iter().filter_map(of_t).collect();
    plots.extend(ts.iter().map(|t| relative(*t, &at(t))));
    if !known {
        plots.extend(rate(&[(models[0], None)]));
    }
    let rate = if known { " The learning rate is one of those above." } else { "" };
    let labels = others.iter().map(|m| Legend { label: m.id.model.clone(), hue: hue(m) });
    let cells = alphas.iter().enumerate().map(|(i, a)| (format!("α = {a}"), Some(i)));
    let cells = cells.map(|(label, hue)| Legend { label, hue });
    let caption = format!("{}, by temperature.{rate}{below}", models[0].id.training);
    Figure::of(caption, labels.chain(cells).collect(), plots)
}

/// Where a class is missing, models without a teacher cannot come near the others: their lines
/// would flatten all differences, and are told in words instead.
fn without_those_far_below<'a>(models: &[&'a ModelSummary]) -> (Vec<&'a ModelSummary>, String) {
    let far = |m: &&&ModelSummary| m.how.omitted_class.is_some() && !m.is_distilled();
    let shown = models.iter().filter(|m| !far(m)).copied().collect();
    let told = models.iter().filter(far);
    let told = told.map(|m| {
        format!(" Not drawn: {}, which ends at {} percent.", m.id.model, percent(m.last.mean))
    });
    (shown, told.collect())
}

/// Test accuracy, on the same axis as that of `all`; nothing where errors are drawn elsewhere.
fn accuracy(
    report: &Report,
    title: String,
    models: &[Drawn<'_>],
    all: &[&ModelSummary],
) -> Option<Plot> {
    let elsewhere = |m: &ModelSummary| report.curves.as_ref().is_some_and(|curves| curves.shows(m));
    if models.iter().all(|(m, _)| m.curve.len() < 2 || elsewhere(m)) {
        return None;
    }
    let y = axis(&all.iter().map(|model| &*model.curve).collect::<Vec<_>>());
    let title = format!("{title}test accuracy, percent");
    Some(plot(title, models, y, |m| (m.curve.clone(), 100.0)))
}

fn objective(models: &[Drawn<'_>]) -> Plot {
    let y = whole(models.iter().flat_map(|(m, _)| &m.losses));
    plot("training objective, nats".into(), models, y, |m| (m.losses.clone(), 1.0))
}

/// Each line above its own lowest point.
fn relative(t: f64, models: &[Drawn<'_>]) -> Plot {
    let above: fn(&ModelSummary) -> Course = |model| {
        let (lowest, _) = range(model.losses.iter().map(|(_, loss)| loss.mean));
        let above = |loss: &Stat| Stat { mean: loss.mean - lowest, ..loss.clone() };
        model.losses.iter().map(|(epoch, loss)| (*epoch, above(loss))).collect()
    };
    let all: Vec<_> = models.iter().flat_map(|(model, _)| above(model)).collect();
    let title = format!("T = {t}: objective above its lowest, nats");
    plot(title, models, whole(all.iter()), |model| (above(model), 1.0))
}

/// Nothing for a rate that never changes: the settings tell it.
fn rate(models: &[Drawn<'_>]) -> Option<Plot> {
    let (low, high) = range(models.iter().flat_map(|(m, _)| &m.rates).map(|(_, rate)| rate.mean));
    if low >= high {
        return None;
    }
    let y = (0.0, 1.05 * high);
    Some(plot("learning rate".into(), models, y, |m| (m.rates.clone(), 1.0)))
}

fn plot(
    title: String,
    models: &[Drawn<'_>],
    y: (f64, f64),
    of: impl Fn(&ModelSummary) -> (Course, f64),
) -> Plot {
    let line = |(model, hue): &Drawn<'_>| {
        let (points, factor) = of(model);
        let point = |(epoch, stat): &(u64, Stat)| {
            (*epoch as f64, factor * stat.mean, factor * stat.std.unwrap_or(0.0))
        };
        Series { hue: *hue, points: points.iter().map(point).collect() }
    };
    let series: Vec<_> = models.iter().map(line).collect();
    let n_epochs = models.iter().filter_map(|(m, _)| m.losses.last()).map(|(e, _)| *e).max();
    let x = XAxis::epochs(n_epochs.unwrap_or(1));
    Plot::new(title, Lines { x, y, series, mark: 0 })
}

/// In percent, bands included: from the lowest, of many epochs after a quarter, to the highest.
fn axis(curves: &[&[(u64, Stat)]]) -> (f64, f64) {
    let begin = |n: usize| if n < MANY { 0 } else { n / 4 };
    let late = curves.iter().flat_map(|curve| curve.iter().skip(begin(curve.len())));
    let (low, _) = whole(late);
    let (_, high) = whole(curves.iter().flat_map(|curve| curve.iter()));
    ((100.0 * low).max(0.0), (100.0 * high).min(100.0))
}

/// All points with their bands, and a margin.
fn whole<'a>(points: impl Iterator<Item = &'a (u64, Stat)>) -> (f64, f64) {
    let ends = points.flat_map(|(_, stat)| {
        let std = stat.std.unwrap_or(0.0);
        [stat.mean - std, stat.mean + std]
    });
    let (low, high) = range(ends);
    let margin = (0.06 * (high - low)).max(2e-4);
    (low - margin, high + margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_holds_the_bands_and_of_many_epochs_not_the_beginning() {
        let point = |epoch: u64, mean: f64| {
            (epoch, Stat { std: Some(0.1), ..Stat::of(vec![mean]).unwrap() })
        };
        let course = |n: u64| -> Course {
            (1..=n).map(|epoch| point(epoch, if epoch < 4 { 0.2 } else { 0.6 })).collect()
        };
        let (low, high) = axis(&[&course(4)]);
        assert!(low < 10.0 && high > 70.0 && high < 80.0, "{low} {high}");
        let (low, _) = axis(&[&course(12)]);
        assert!(low > 40.0 && low < 50.0, "{low}");
        let (_, high) = axis(&[&[point(1, 0.99)]]);
        assert!((high - 100.0).abs() < 1e-9, "{high}");
    }
}
