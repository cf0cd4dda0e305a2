//! Accuracy against what it cost.

use kd_core::Result;

use super::{Method, Methods};
use crate::chart::{Lines, Series, XAxis, hue};
use crate::document::{Figure, Legend, Plot};
use crate::report::{ModelSummary, Report};

/// Lines at most: as many as there are colors that can be told apart.
const MOST: usize = 7;

/// The test accuracy in the course of the training, by images through the student: of labels alone, of tuned
/// distillation, and of the most accurate others.
///
/// # Errors
/// When the chart cannot be drawn.
pub(super) fn figure(report: &Report, methods: &Methods) -> Result<Option<Figure>> {
    let model = |one: &Method| {
        let is_it = |model: &&ModelSummary| {
            model.id.training == methods.training && model.id.model == one.name
        };
        report.models.iter().find(is_it).filter(|model| !model.curve.is_empty())
    };
    let line = |one: &Method| Some((one.name.clone(), points(model(one)?, one)?));
    let shown = shown(methods);
    let lines: Vec<_> = shown.iter().filter_map(|one| line(one)).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let all = || lines.iter().flat_map(|(_, points)| points);
    let (low, high) = ends(all().flat_map(|(_, y, spread)| [y - spread, y + spread]));
    let margin = (0.06 * (high - low)).max(0.02);
    let (_, right) = ends(all().map(|(x, ..)| *x));
    let x =
        XAxis { name: "images through the student, thousands", ends: (0.0, 1.03 * right), label };
    let series = lines.iter().enumerate();
    let series = series.map(|(i, (_, points))| Series { hue: hue(i), points: points.clone() });
    let lines_of = Lines { x, y: (low - margin, high + margin), series: series.collect(), mark: 5 };
    let legend = lines.iter().enumerate();
    let legend = legend.map(|(i, (name, _))| Legend { label: name.clone(), hue: hue(i) }).collect();
    let left_out = methods.methods.len() - lines.len();
    let caption = match left_out {
        0 => String::new(),
        n => format!(" The most accurate ones; {n} others are in the table alone."),
    };
    let caption = format!("{}, mean ± one standard deviation.{caption}", methods.training);
    let plot = Plot::new("test accuracy against compute, percent", lines_of);
    Figure::of(caption, legend, vec![plot]).map(Some)
}

/// Labels alone, tuned distillation, and the most accurate others.
fn shown(methods: &Methods) -> Vec<&Method> {
    let named = |name: &String| methods.methods.iter().find(|one| one.name == *name);
    let mut shown: Vec<&Method> = named(&methods.labels).into_iter().collect();
    shown.extend(methods.kd.as_ref().and_then(named));
    let rest =
        methods.methods.iter().filter(|one| one.taught && Some(&one.name) != methods.kd.as_ref());
    shown.extend(rest);
    shown.truncate(MOST);
    shown
}

/// Thousands of images, mean and standard deviation in percent.
fn points(model: &ModelSummary, method: &Method) -> Option<Vec<(f64, f64, f64)>> {
    let passes = method.compute?.student_passes as f64;
    let (last, _) = model.curve.last()?;
    let each = passes / *last as f64 / 1000.0;
    let point = |(epoch, stat): &(u64, crate::stats::Stat)| {
        (*epoch as f64 * each, 100.0 * stat.mean, 100.0 * stat.std.unwrap_or(0.0))
    };
    Some(model.curve.iter().map(point).collect())
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
}

/// As many decimals as a tick needs.
fn label(x: f64) -> String {
    ((x * 1000.0).round() / 1000.0).to_string()
}
