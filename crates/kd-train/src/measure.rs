//! What a training records: points of learning curves, and its epochs.

use kd_core::Result;
use kd_core::record::{CurveRecord, EpochRecord, Evaluation, ModelId, Record};

use crate::cohort::Cohort;
use crate::course::{Course, Run};
use crate::evaluate::EvalSet;
use crate::progress::timed;
use crate::step::settle;
use crate::student::{Best, Student};

impl Cohort {
    /// Whether a point of the learning curve is due within the epoch.
    pub(crate) fn is_at_curve_point(&self, course: &Course<'_>) -> bool {
        let due = |n| self.step.is_multiple_of(n);
        self.step < course.n_steps && course.plan.eval_every_steps.is_some_and(due)
    }

    /// Where the curve of `student` is now, and what it made of the batches since its last point.
    fn curve_point(&self, student: &Student, test: &Evaluation, n_steps: u64) -> CurveRecord {
        let (step, point) = (self.steps_done(n_steps), &student.point);
        CurveRecord {
            seed: self.seed,
            id: ModelId::new(&self.training, &student.name),
            step,
            epoch: step as f64 / n_steps as f64,
            n_train: point.n_images as usize,
            train_top1: point.top1(),
            train_top5: point.top5(),
            train_loss: point.loss(),
            test_top1: test.top1,
            test_top5: test.top5,
            test_nll: test.nll,
        }
    }

    /// The record of `student` for the epoch that has just ended.
    fn epoch_record(
        &self,
        student: &Student,
        test: Option<&Evaluation>,
        holdout: Option<&Evaluation>,
        learning_rate: f64,
    ) -> EpochRecord {
        EpochRecord {
            seed: self.seed,
            id: ModelId::new(&self.training, &student.name),
            epoch: self.epoch,
            learning_rate,
            train_loss: student.epoch.loss(),
            test_top1: test.map(|t| t.top1),
            test_top5: test.map(|t| t.top5),
            test_nll: test.map(|t| t.nll),
            holdout_top1: holdout.map(|h| h.top1),
            seconds: self.clock.seconds(),
            images_per_second: Some(self.clock.images_per_second(student.epoch.n_images)),
            data_wait: Some(self.clock.data_wait()),
        }
    }
}

/// Records a point of every student's learning curve.
pub(crate) fn curve_points(
    cohort: &mut Cohort,
    course: &Course<'_>,
    run: &mut Run<'_>,
) -> Result<()> {
    settle(cohort)?;
    let Some(test) = course.test() else { return Ok(()) };
    let (tests, time) = timed(|| evaluate(cohort, test, course));
    cohort.clock.evaluating += time.as_secs_f64();
    append_points(cohort, &tests?, course, run)
}

fn append_points(
    cohort: &mut Cohort,
    tests: &[Evaluation],
    course: &Course<'_>,
    run: &mut Run<'_>,
) -> Result<()> {
    for (student, test) in learning(cohort).zip(tests) {
        let point = cohort.curve_point(student, test, course.n_steps);
        run.metrics.append(&Record::Curve(point))?;
    }
    cohort.students.iter_mut().for_each(|student| student.point = Default::default());
    Ok(())
}

/// Ends the epoch whose last step is done: evaluates what is due, and records it.
pub(crate) fn end_epoch(cohort: &mut Cohort, course: &Course<'_>, run: &mut Run<'_>) -> Result<()> {
    settle(cohort)?;
    let plan = course.plan;
    let learning_rate = plan.rate(cohort.epoch, course.n_steps.saturating_sub(1), course.n_steps);
    (cohort.epoch, cohort.step) = (cohort.epoch + 1, 0);
    let is_due = plan.eval_every_steps.is_some()
        || cohort.epoch.is_multiple_of(plan.eval_every)
        || cohort.epoch == plan.n_epochs;
    let ((tests, holdouts), time) = timed(|| {
        let on = |set: Option<&EvalSet>| match set.filter(|_| is_due) {
            Some(set) => evaluate(cohort, set, course),
            None => Ok(Vec::new()),
        };
        (on(course.test()), on(course.holdout()))
    });
    let (tests, holdouts) = (tests?, holdouts?);
    cohort.clock.evaluating += time.as_secs_f64();
    if plan.eval_every_steps.is_some() {
        append_points(cohort, &tests, course, run)?;
    }
    for (i, student) in learning(cohort).enumerate() {
        let record = cohort.epoch_record(student, tests.get(i), holdouts.get(i), learning_rate);
        run.metrics.append(&Record::Epoch(record))?;
    }
    let epoch = cohort.epoch;
    for (i, student) in cohort.learning().enumerate() {
        student.n_images += std::mem::take(&mut student.epoch).n_images;
        if let Some(test) = tests.get(i).filter(|test| test.top1 > student.best.top1) {
            student.best = Best { top1: test.top1, epoch };
        }
        if let Some(held_out) = holdouts.get(i).filter(|_| plan.needs_holdout()) {
            student.choice.note(held_out, epoch, (student.model.params(), plan.keep))?;
            student.rests = student.choice.is_over(epoch, plan.patience);
        }
    }
    cohort.seconds += std::mem::take(&mut cohort.clock).seconds();
    Ok(())
}

fn learning(cohort: &Cohort) -> impl Iterator<Item = &Student> {
    cohort.students.iter().filter(|student| !student.rests)
}

/// Evaluates the students one after another: each has a batch for every thread, of every process.
fn evaluate(cohort: &Cohort, set: &EvalSet, course: &Course<'_>) -> Result<Vec<Evaluation>> {
    let shared = course.shards.as_ref().filter(|shards| shards.are_shared());
    let evaluate = |student: &Student| match shared {
        Some(shards) => set.evaluate_shared(&*student.model, shards),
        None => set.evaluate(&*student.model, None),
    };
    learning(cohort).map(evaluate).collect()
}
