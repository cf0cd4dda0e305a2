//! From the points of a curve to their summary over seeds.

use kd_core::record::{CurveRecord, Evaluation, TeacherRecord};

use crate::ordered::grouped;
use crate::run::{ModelRuns, Run};
use crate::stats::Stat;

use super::{CHARTS, Errors, Point, StudentCurve, TeacherErrors, error};

/// The curves of all models that have some.
pub(super) fn students(models: &[ModelRuns]) -> Vec<StudentCurve> {
    models.iter().filter_map(student).collect()
}

fn student(model: &ModelRuns) -> Option<StudentCurve> {
    let seeds = seeds(model);
    let lines: Vec<_> = seeds.iter().map(|seed| line(model, *seed)).collect();
    let points = points(model, &seeds);
    let [train1, train5, test1, test5] = CHARTS;
    let pass = |error| over(&lines, |line| Some(last_pass(line, error)?.0));
    let at = |point: Pick, error: Measured| over(&lines, |line| point(line).map(error));
    Some(StudentCurve {
        id: model.id.clone(),
        finished: seeds.iter().any(|seed| model.finals.contains_key(seed)),
        seeds,
        n_points: points.len(),
        train: errors(pass(train1), pass(train5)),
        last: errors(at(last, test1), at(last, test5))?,
        best: errors(at(best, test1), at(best, test5))?,
        best_epoch: at(best, |point| point.epoch)?,
        points,
    })
}

/// The teachers from files, each over the seeds of its students.
pub(super) fn teachers(run: &Run) -> Vec<TeacherErrors> {
    let trainings = grouped(run.teachers.values(), |teacher| teacher.training.clone());
    let teacher = |seeds: &Vec<&TeacherRecord>| {
        Some(TeacherErrors {
            training: seeds[0].training.clone(),
            network: seeds[0].network.clone(),
            errors: evaluated(seeds.iter().map(|teacher| &teacher.last))?,
        })
    };
    trainings.iter().filter_map(teacher).collect()
}

/// The errors of evaluations of several seeds.
pub(super) fn evaluated<'a>(seeds: impl Iterator<Item = &'a Evaluation> + Clone) -> Option<Errors> {
    let top1 = seeds.clone().map(|evaluation| error(evaluation.top1));
    let top5 = seeds.map(|evaluation| error(evaluation.top5));
    errors(Stat::of(top1.collect()), Stat::of(top5.collect()))
}

/// The points of one seed, in order.
type Line<'a> = Vec<&'a CurveRecord>;
/// A number of a point.
type Measured = fn(&CurveRecord) -> f64;
/// One of the points.
type Pick = for<'a> fn(&[&'a CurveRecord]) -> Option<&'a CurveRecord>;

/// Seeds that ended; while none has, those that have begun.
fn seeds(model: &ModelRuns) -> Vec<u64> {
    let mut seeds: Vec<u64> = model.curves.keys().map(|(seed, _)| *seed).collect();
    seeds.dedup();
    if seeds.iter().any(|seed| model.finals.contains_key(seed)) {
        seeds.retain(|seed| model.finals.contains_key(seed));
    }
    seeds
}

/// The points of `seed`.
pub(super) fn line(model: &ModelRuns, seed: u64) -> Line<'_> {
    model.curves.range((seed, 0)..=(seed, u64::MAX)).map(|(_, point)| point).collect()
}

/// What all seeds have, so that no mean is over other seeds than its neighbor.
fn points(model: &ModelRuns, seeds: &[u64]) -> Vec<Point> {
    let first = seeds.first().map(|seed| line(model, *seed)).unwrap_or_default();
    let all = |step: u64| -> Option<Line<'_>> {
        seeds.iter().map(|seed| model.curves.get(&(*seed, step))).collect()
    };
    let point = |at: &CurveRecord| {
        let here = all(at.step)?;
        let stat = |error: Measured| Stat::of(here.iter().map(|point| error(point)).collect());
        let [a, b, c, d] = CHARTS.map(stat);
        Some(Point { epoch: at.epoch, errors: [a?, b?, c?, d?] })
    };
    first.into_iter().filter_map(point).collect()
}

/// The error over the last pass through the training images, and of how many images that is.
///
/// A single point is of the images since the one before it: with many evaluations in an epoch, of
/// few, and at the end of an epoch of fewer still.
pub(super) fn last_pass(line: &[&CurveRecord], error: Measured) -> Option<(f64, f64)> {
    const ROUNDING: f64 = 1e-6;
    let begin = line.last()?.epoch - 1.0 + ROUNDING;
    let pass = line.iter().filter(|point| point.epoch > begin);
    let n_images: f64 = pass.clone().map(|point| point.n_train as f64).sum();
    let wrong: f64 = pass.map(|point| error(point) * point.n_train as f64).sum();
    (n_images > 0.0).then(|| (wrong / n_images, n_images))
}

fn last<'a>(line: &[&'a CurveRecord]) -> Option<&'a CurveRecord> {
    line.last().copied()
}

/// The first point with the fewest top-1 errors on the test images.
fn best<'a>(line: &[&'a CurveRecord]) -> Option<&'a CurveRecord> {
    let error = |point: &CurveRecord| CHARTS[2](point);
    line.iter().copied().min_by(|a, b| error(a).total_cmp(&error(b)))
}

fn over(lines: &[Line<'_>], value: impl Fn(&[&CurveRecord]) -> Option<f64>) -> Option<Stat> {
    Stat::of(lines.iter().map(|line| value(line)).collect::<Option<_>>()?)
}

fn errors(top1: Option<Stat>, top5: Option<Stat>) -> Option<Errors> {
    top1.zip(top5).map(|(top1, top5)| Errors { top1, top5 })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::point;
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    fn model(points: &[CurveRecord]) -> ModelRuns {
        let mut model = ModelRuns::default();
        for point in points {
            model.curves.insert((point.seed, point.step), point.clone());
        }
        model
    }

    #[test]
    fn the_last_pass_is_weighted_by_images_and_leaves_out_the_one_before() {
        let points = [
            CurveRecord { n_train: 100, train_top1: 0.0, ..point(1, 10, 1.0) },
            CurveRecord { n_train: 90, train_top1: 0.5, ..point(1, 19, 1.9) },
            CurveRecord { n_train: 10, train_top1: 1.0, ..point(1, 20, 2.0) },
        ];
        let line: Vec<_> = points.iter().collect();
        let (error, n_images) = last_pass(&line, CHARTS[0]).unwrap();
        assert!(close(error, 0.45) && close(n_images, 100.0), "{error} of {n_images}");
        assert_eq!(last_pass(&[], CHARTS[0]), None);
        let none = CurveRecord { n_train: 0, ..point(1, 1, 1.0) };
        assert_eq!(last_pass(&[&none], CHARTS[0]), None);
    }

    #[test]
    fn last_and_best_are_two_points() {
        let points = [
            CurveRecord { test_top1: 0.5, test_top5: 0.9, ..point(1, 1, 0.5) },
            CurveRecord { test_top1: 0.75, test_top5: 0.8, ..point(1, 2, 1.0) },
            CurveRecord { test_top1: 0.75, test_top5: 1.0, ..point(1, 3, 1.5) },
            CurveRecord { test_top1: 0.25, test_top5: 0.5, ..point(1, 4, 2.0) },
        ];
        let student = student(&model(&points)).unwrap();
        let both = |errors: &Errors| (errors.top1.mean, errors.top5.mean);
        assert!(close(both(&student.last).0, 0.75) && close(both(&student.last).1, 0.5));
        assert!(close(both(&student.best).0, 0.25) && close(both(&student.best).1, 0.2));
        assert!(close(student.best_epoch.mean, 1.0) && student.n_points == 4);
        assert!(!student.finished && student.seeds == [1]);
    }

    #[test]
    fn only_points_that_all_ended_seeds_have_are_drawn() {
        let mut model = model(&[
            point(1, 1, 0.5),
            point(1, 2, 1.0),
            point(2, 1, 0.5),
            point(2, 2, 1.0),
            point(3, 1, 0.5),
        ]);
        let student = |model: &ModelRuns| super::student(model).unwrap();
        assert_eq!((student(&model).n_points, student(&model).seeds), (1, vec![1, 2, 3]));
        model.finals.insert(1, Default::default());
        model.finals.insert(2, Default::default());
        let ended = student(&model);
        assert_eq!((ended.n_points, ended.seeds, ended.finished), (2, vec![1, 2], true));
        assert_eq!(ended.points[0].errors[2].n, 2);
    }

    #[test]
    fn accuracies_beyond_0_and_1_do_not_leave_the_chart() {
        let wild = CurveRecord { test_top1: -1e300, train_top5: 7.0, ..point(1, 1, 1.0) };
        let student = student(&model(&[wild])).unwrap();
        assert!(close(student.last.top1.mean, 1.0) && close(student.train.unwrap().top5.mean, 0.0));
    }
}
