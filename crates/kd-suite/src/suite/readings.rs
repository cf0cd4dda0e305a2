//! What a paper leaves open: every combination of the possible choices is a reading of it.
//!
//! Key decision: readings share what they have in common. Trainings that differ in nothing are one, and students
//! of one training that differ in nothing are one, so that a choice which only exchanges the cells of a grid, or
//! which only takes another epoch of the same curve, costs nothing.

use std::collections::BTreeMap;

use kd_core::ops::{OptimizerSpec, Reduction};
use kd_core::record::{AxisRecord, ModelId, ReadingRecord, ReadingsRecord, Setting};
use kd_core::{Error, Result};
use kd_models::ModelSpec;
use kd_train::{LossSpec, Schedule};
use serde::{Deserialize, Serialize};

use super::spec::{StudentSpec, Teacher, TrainingSpec};

/// Readings that a suite may have at most.
const MOST: usize = 4096;

/// The choices that a paper leaves open, for some trainings; what is not listed is as these say it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Readings {
    /// The trainings whose protocol is open; of their students those with a claim are trained.
    pub trainings: Vec<String>,
    /// The networks or images are not the paper's: the level of its table means nothing, and only the pattern over
    /// alpha and temperature is compared.
    pub pattern_only: bool,
    /// Padding of the random crops, pixels; 0 for none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub crop_padding: Vec<usize>,
    /// How the soft term of distillation is scaled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reduction: Vec<Reduction>,
    /// Which term of distillation alpha weighs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpha_on: Vec<Term>,
    /// Dropout of the students, which are multilayer perceptrons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub student_dropout: Vec<f32>,
    /// Images a step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub batch_size: Vec<usize>,
    /// Learning rate before the schedule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learning_rate: Vec<f64>,
    /// The optimizer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub optimizer: Vec<OptimizerSpec>,
    /// How the learning rate changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Schedule>,
    /// Passes over the training images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub n_epochs: Vec<u64>,
    /// Names of the trainings that teach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teacher: Vec<String>,
    /// The epoch whose accuracy is printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub epoch: Vec<Epoch>,
}

/// A term of distillation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Term {
    /// The teacher's soft targets: alpha soft + (1 - alpha) hard.
    Soft,
    /// The labels: alpha hard + (1 - alpha) soft.
    Hard,
}

/// The epoch of a printed accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Epoch {
    /// The best on the test images.
    Best,
    /// The last.
    Last,
}

/// One value of an axis.
#[derive(Debug, Clone)]
enum Choice {
    CropPadding(usize),
    Reduction(Reduction),
    AlphaOn(Term),
    StudentDropout(f32),
    BatchSize(usize),
    LearningRate(f64),
    Optimizer(OptimizerSpec),
    Schedule(Schedule),
    Epochs(u64),
    Teacher(String),
    Epoch(Epoch),
}

/// An axis with its values, as they are and as records keep them.
struct Axis {
    record: AxisRecord,
    choices: Vec<Choice>,
}

impl Axis {
    fn of<T: Serialize + Clone>(
        name: &str,
        values: &[T],
        choice: fn(T) -> Choice,
    ) -> Result<Option<Self>> {
        let invalid = |e: serde_json::Error| Error::config(name, e.to_string());
        let setting = |value: &T| -> Result<Setting> {
            serde_json::from_value(serde_json::to_value(value).map_err(invalid)?).map_err(invalid)
        };
        let settings = values.iter().map(setting).collect::<Result<_>>()?;
        let record = AxisRecord { name: name.into(), values: settings };
        let choices = values.iter().cloned().map(choice).collect();
        Ok((!values.is_empty()).then_some(Self { record, choices }))
    }
}

impl Readings {
    fn axes(&self) -> Result<Vec<Axis>> {
        let all = [
            Axis::of("crop_padding", &self.crop_padding, Choice::CropPadding)?,
            Axis::of("reduction", &self.reduction, Choice::Reduction)?,
            Axis::of("alpha_on", &self.alpha_on, Choice::AlphaOn)?,
            Axis::of("student_dropout", &self.student_dropout, Choice::StudentDropout)?,
            Axis::of("batch_size", &self.batch_size, Choice::BatchSize)?,
            Axis::of("learning_rate", &self.learning_rate, Choice::LearningRate)?,
            Axis::of("optimizer", &self.optimizer, Choice::Optimizer)?,
            Axis::of("schedule", &self.schedule, Choice::Schedule)?,
            Axis::of("n_epochs", &self.n_epochs, Choice::Epochs)?,
            Axis::of("teacher", &self.teacher, Choice::Teacher)?,
            Axis::of("epoch", &self.epoch, Choice::Epoch)?,
        ];
        Ok(all.into_iter().flatten().collect())
    }
}

/// The trainings of all readings in place of `trainings`, and which model answers what in which reading.
///
/// # Errors
/// [`Error::Config`] for a training that is not there or claims nothing, a choice that one cannot have, and too
/// many readings.
pub(super) fn expand(
    readings: &Readings,
    trainings: &[TrainingSpec],
) -> Result<(Vec<TrainingSpec>, ReadingsRecord)> {
    let axes = readings.axes()?;
    let open = |training: &TrainingSpec| readings.trainings.contains(&training.name);
    check(readings, trainings)?;
    let n = axes.iter().fold(1usize, |n, axis| n.saturating_mul(axis.choices.len()));
    if n > MOST {
        let reason = format!("{n} combinations; there may be {MOST}");
        return Err(Error::config("readings", reason));
    }
    let mut all = Vec::new();
    let mut records: Vec<_> = (0..n).map(|i| reading(i, &axes)).collect();
    for training in trainings {
        if !open(training) {
            all.push(training.clone());
            continue;
        }
        let mut cohorts: Vec<TrainingSpec> = Vec::new();
        for record in &mut records {
            let mut choices = record.values.iter().zip(&axes).map(|(&i, axis)| &axis.choices[i]);
            let read = choices.try_fold(claimed(training), with)?;
            record.cells.extend(place(read, &mut cohorts));
        }
        all.extend(cohorts);
    }
    let axes = axes.into_iter().map(|axis| axis.record).collect();
    let pattern_only = readings.pattern_only;
    Ok((all, ReadingsRecord { pattern_only, axes, readings: records }))
}

fn check(readings: &Readings, trainings: &[TrainingSpec]) -> Result<()> {
    if readings.trainings.is_empty() {
        return Err(Error::config(
            "readings.trainings",
            "name the trainings whose protocol is open",
        ));
    }
    for name in &readings.trainings {
        let found = trainings.iter().find(|training| training.name == *name);
        let reason = match found {
            Some(training) if training.student.iter().any(|s| s.claim.is_some()) => continue,
            Some(_) => "has no student with a `claim`",
            None => "is no training of this suite and preset",
        };
        return Err(Error::config("readings.trainings", format!("`{name}` {reason}")));
    }
    Ok(())
}

/// The reading of number `i`, of which the last axis changes first.
fn reading(mut i: usize, axes: &[Axis]) -> ReadingRecord {
    let mut record = ReadingRecord { values: vec![0; axes.len()], ..ReadingRecord::default() };
    for (value, axis) in record.values.iter_mut().zip(axes).rev() {
        *value = i % axis.choices.len();
        i /= axis.choices.len();
        record.last |= matches!(axis.choices[*value], Choice::Epoch(Epoch::Last));
    }
    record
}

/// The training with those of its students that answer a claim.
fn claimed(training: &TrainingSpec) -> TrainingSpec {
    let claims = training.student.iter().filter(|student| student.claim.is_some());
    TrainingSpec { student: claims.cloned().collect(), ..training.clone() }
}

/// The training as `choice` has it.
fn with(mut training: TrainingSpec, choice: &Choice) -> Result<TrainingSpec> {
    let plan = &mut training.plan;
    match choice {
        Choice::CropPadding(padding) => training.augment.crop_padding = *padding,
        Choice::BatchSize(n) => plan.batch_size = *n,
        Choice::LearningRate(rate) => plan.learning_rate = *rate,
        Choice::Optimizer(optimizer) => plan.optimizer = optimizer.clone(),
        Choice::Schedule(schedule) => plan.schedule = *schedule,
        Choice::Epochs(n) => plan.n_epochs = *n,
        Choice::Teacher(name) => training.teacher = Some(Teacher::Training(name.clone())),
        Choice::StudentDropout(dropout) => match &mut training.model {
            ModelSpec::Mlp(mlp) => mlp.dropout = *dropout,
            _ => {
                let reason = format!("`{}` is no multilayer perceptron", training.name);
                return Err(Error::config("readings.student_dropout", reason));
            }
        },
        Choice::Reduction(reduction) => distill(&mut training, |loss| loss.reduction = *reduction),
        Choice::AlphaOn(Term::Hard) => distill(&mut training, |loss| loss.alpha = rest(loss.alpha)),
        Choice::AlphaOn(Term::Soft) | Choice::Epoch(_) => (),
    }
    training.plan.check()?;
    Ok(training)
}

/// Changes every distillation of `training`.
fn distill(training: &mut TrainingSpec, change: impl Fn(&mut kd_train::losses::Distill)) {
    for student in &mut training.student {
        if let LossSpec::Distill(loss) = &mut student.loss {
            change(loss);
        }
    }
}

/// `1 - alpha` without the error of binary fractions, so that 1 - 0.9 is 0.1; soft targets alone stay alone.
fn rest(alpha: f64) -> f64 {
    if alpha < 1.0 { ((1.0 - alpha) * 1e9).round() / 1e9 } else { alpha }
}

/// Puts the students of `read` into the cohort that differs in nothing else, where there is one; returns which
/// model answers which claim.
fn place(read: TrainingSpec, cohorts: &mut Vec<TrainingSpec>) -> BTreeMap<String, ModelId> {
    let setting =
        |t: &TrainingSpec| TrainingSpec { name: String::new(), student: Vec::new(), ..t.clone() };
    let found = cohorts.iter().position(|cohort| setting(cohort) == setting(&read));
    let place = found.unwrap_or_else(|| {
        let name = format!("{}-{}", read.name, cohorts.len() + 1);
        cohorts.push(TrainingSpec { name, student: Vec::new(), ..read.clone() });
        cohorts.len() - 1
    });
    let cohort = &mut cohorts[place];
    let answer = |student: StudentSpec| {
        let claim = student.claim.clone().unwrap_or_default();
        (claim, ModelId::new(&cohort.name, join(student, &mut cohort.student)))
    };
    read.student.into_iter().map(answer).collect()
}

/// The name of the student that learns from the same, which is a new one where there is none. It answers no claim
/// by itself: the readings do.
fn join(new: StudentSpec, students: &mut Vec<StudentSpec>) -> String {
    let same = |old: &&StudentSpec| old.loss == new.loss && old.perturb == new.perturb;
    if let Some(old) = students.iter().find(same) {
        return old.name.clone();
    }
    let taken = |name: &str| students.iter().any(|old| old.name == name);
    let mut name = new.name.clone();
    for i in 2.. {
        if !taken(&name) {
            break;
        }
        name = format!("{}-{i}", new.name);
    }
    students.push(StudentSpec { name: name.clone(), claim: None, ..new });
    name
}

#[cfg(test)]
#[path = "readings_tests.rs"]
mod tests;
