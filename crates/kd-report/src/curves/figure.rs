//! The four charts of each training: the paper's Figures 3 to 6.

use kd_core::Result;

use crate::chart::{Lines, Series, XAxis, hue};
use crate::claims::{Claims, Measure};
use crate::document::{Block, Figure, Legend, Plot};
use crate::format::percent;
use crate::ordered::grouped;
use crate::report::{ModelSummary, Report};

use super::{Curves, MEASURES, StudentCurve};

/// As many lines as there are colors.
const N_LINES: usize = 7;
/// Points of a line that are drawn at most: about one for two pixels of a chart on a page.
const N_DRAWN: usize = 300;
/// Up to so many points, each has a mark.
const N_MARKED: usize = 30;

/// The title of the paper's figure about `measure`, where it has one.
pub(super) fn title(claims: &Claims, suite: &str, measure: Measure, otherwise: &str) -> String {
    let claim = claims.orders(suite).into_iter().find(|claim| claim.measure == measure);
    claim.and_then(|claim| claim.figure.clone()).unwrap_or_else(|| otherwise.into())
}

/// Four charts for each training with curves.
///
/// # Errors
/// When a chart cannot be drawn.
pub(super) fn figures(report: &Report, curves: &Curves) -> Result<Vec<Block>> {
    let trainings = grouped(&curves.students, |student| student.id.training.as_str());
    let parts = trainings.iter().flat_map(|students| students.chunks(N_LINES));
    parts.map(|students| Ok(Block::Figure(figure(report, curves, students)?))).collect()
}

fn figure(report: &Report, curves: &Curves, students: &[&StudentCurve]) -> Result<Figure> {
    let legend = students.iter().enumerate();
    let legend = legend.map(|(i, student)| Legend { label: label(report, student), hue: hue(i) });
    // The paper's figures compare students; a teacher's own course is none of them.
    let alone =
        students.len() == 1 && summary(report, students[0]).is_some_and(ModelSummary::is_baseline);
    let title = |chart: usize| if alone { MEASURES[chart].1 } else { &curves.titles[chart] };
    let shown: &[usize] = if curves.few_classes { &[0, 2] } else { &[0, 1, 2, 3] };
    let plots = shown.iter().map(|&chart| plot(title(chart), students, chart)).collect();
    Figure::of(caption(students), legend.collect(), plots)
}

/// `t10: α 0.5, T 10`; `baseline: no teacher`.
fn label(report: &Report, student: &StudentCurve) -> String {
    match summary(report, student) {
        None => format!("{}: not finished", student.id.model),
        Some(model) if model.is_baseline() => format!("{}: no teacher", student.id.model),
        Some(model) => format!("{}: {}", student.id.model, model.objective()),
    }
}

fn summary<'a>(report: &'a Report, student: &StudentCurve) -> Option<&'a ModelSummary> {
    let same = |m: &&ModelSummary| m.id == student.id;
    report.models.iter().find(same)
}

fn plot(title: &str, students: &[&StudentCurve], chart: usize) -> Plot {
    let lines: Vec<_> = students.iter().map(|student| drawn(student, chart)).collect();
    let end = |student: &&StudentCurve| {
        let last = student.points.last().map(|point| point.errors[chart].mean);
        last.map(|error| format!("{} {}", student.id.model, percent(error)))
    };
    let ends: Vec<String> = students.iter().filter_map(end).collect();
    let most = students.iter().map(|student| student.points.len()).max().unwrap_or(0);
    let lines = Lines {
        x: passes(&lines),
        y: axis(&lines),
        mark: if most <= N_MARKED { 6 } else { 0 },
        series: lines
            .into_iter()
            .enumerate()
            .map(|(i, points)| Series { hue: hue(i), points })
            .collect(),
    };
    let title = format!("{title}, percent");
    let words = format!("{title}, by epoch. At the end: {}.", ends.join(", "));
    Plot { title, words, lines }
}

/// Epoch, mean and standard deviation, percent.
type Points = Vec<(f64, f64, f64)>;

/// What is drawn of a student: where there are more points than a chart can show, the means of
/// neighbors.
fn drawn(student: &StudentCurve, chart: usize) -> Points {
    let points = student.points.iter().map(|point| {
        let error = &point.errors[chart];
        (point.epoch, 100.0 * error.mean, 100.0 * error.std.unwrap_or(0.0))
    });
    let points: Points = points.collect();
    points.chunks(together(points.len())).map(mean).collect()
}

/// How many neighbors are drawn as one.
fn together(n_points: usize) -> usize {
    n_points.div_ceil(N_DRAWN).max(1)
}

fn mean(points: &[(f64, f64, f64)]) -> (f64, f64, f64) {
    let n = points.len() as f64;
    let sum = points.iter().fold((0.0, 0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1, s.2 + p.2));
    (sum.0 / n, sum.1 / n, sum.2 / n)
}

/// From the untrained network to the longest line's end.
fn passes(lines: &[Points]) -> XAxis {
    let end = lines.iter().flatten().map(|point| point.0).fold(1e-3, f64::max);
    let label = |x: f64| ((1e3 * x).round() / 1e3).to_string();
    XAxis { name: "epoch", ends: (0.0, end), label }
}

/// All that the lines show, with the bands, and no more than 0 to 100.
fn axis(lines: &[Points]) -> (f64, f64) {
    let ends = lines.iter().flatten().flat_map(|(_, mean, std)| [mean - std, mean + std]);
    let (low, high) = ends.fold((100.0_f64, 0.0_f64), |(l, h), y| (l.min(y), h.max(y)));
    let margin = (0.05 * (high - low)).max(0.1);
    ((low - margin).max(0.0), (high + margin).clamp(0.2, 100.0))
}

fn caption(students: &[&StudentCurve]) -> String {
    let seeds = students.iter().map(|student| student.seeds.len()).max().unwrap_or(1);
    let spread = match seeds {
        1 => "One seed.".to_owned(),
        n => format!("Lines are means over {n} seeds, bands ± one standard deviation."),
    };
    let most = students.iter().map(|student| student.n_points).max().unwrap_or(0);
    let thinned = match together(most) {
        1 => String::new(),
        n => {
            format!(" Of up to {most} recorded points every {n} neighbors are drawn as their mean.")
        }
    };
    format!(
        "{}: errors by epoch, that is passes over the training images. On the training set: over \
         the augmented images since the point before, as the student saw them while it learned; on \
         the other set: over all its images. {spread}{thinned}",
        students[0].id.training
    )
}

#[cfg(test)]
mod tests {
    use kd_core::record::ModelId;

    use crate::stats::Stat;

    use super::super::{Errors, Point};
    use super::*;

    fn student(n_points: usize) -> StudentCurve {
        let stat = |value: f64| Stat::of(vec![value]).unwrap();
        let errors = Errors { top1: stat(0.5), top5: stat(0.1) };
        let point = |i: usize| {
            let error = stat(i as f64 / 1e6);
            Point { epoch: i as f64, errors: [error.clone(), error.clone(), error.clone(), error] }
        };
        StudentCurve {
            id: ModelId::new("t", "m"),
            seeds: vec![1],
            finished: true,
            n_points,
            train: None,
            last: errors.clone(),
            best: errors,
            best_epoch: stat(1.0),
            points: (1..=n_points).map(point).collect(),
        }
    }

    #[test]
    fn many_points_become_the_means_of_neighbors() {
        let few = drawn(&student(300), 0);
        assert_eq!((few.len(), together(300)), (300, 1));
        let many = drawn(&student(1000), 2);
        assert_eq!((many.len(), together(1000)), (250, 4));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(many[0].0, 2.5) && close(many[0].1, 100.0 * 2.5e-6));
        assert!(caption(&[&student(1000)]).contains("Of up to 1000 recorded points every 4 neigh"));
        assert!(!caption(&[&student(300)]).contains("recorded points"));
    }

    #[test]
    fn axes_hold_what_is_drawn_and_stay_within_percents() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let (low, high) = axis(&[vec![(1.0, 60.0, 0.0), (2.0, 40.0, 0.0)]]);
        assert!(close(low, 39.0) && close(high, 61.0));
        let (low, high) = axis(&[vec![(1.0, 99.0, 5.0), (2.0, 0.0, 0.0)]]);
        assert!(close(low, 0.0) && close(high, 100.0));
        let flat = axis(&[vec![(1.0, 0.0, 0.0)]]);
        assert!(flat.1 > flat.0);
        let x = passes(&[vec![(0.5, 1.0, 0.0)], vec![(2.25, 1.0, 0.0)]]);
        assert!(close(x.ends.1, 2.25));
        assert_eq!([(x.label)(0.5), (x.label)(0.1 + 0.2), (x.label)(10.0)], ["0.5", "0.3", "10"]);
    }
}
