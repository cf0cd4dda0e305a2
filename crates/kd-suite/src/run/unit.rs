//! A job with one seed: what one process does at a time, wherever it runs.

use std::ops::Range;

use kd_core::record::{ModelId, Record};

use super::job::{Job, jobs};
use crate::suite::{Spec, StudentSpec, TrainingSpec};

/// A job with one seed; of a cohort, all students or some.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit<'a> {
    pub(super) job: Job<'a>,
    pub(super) seed: u64,
    /// The places of the students that are trained; all where there is nothing.
    pub(super) students: Option<Range<usize>>,
}

/// Everything that `spec` asks for, in the order in which one process does it.
pub(super) fn units(spec: &Spec) -> Vec<Unit<'_>> {
    let jobs = jobs(spec);
    let of_seed =
        |seed| jobs.iter().filter(move |job| job.is_of(seed)).map(move |&job| (job, seed));
    let unit = |(job, seed)| Unit { job, seed, students: None };
    (0..spec.seeds).flat_map(of_seed).map(unit).collect()
}

/// The same, with no more than `most` students of a cohort in one unit. Those that learn from each other stay
/// together.
pub(super) fn parts(spec: &Spec, most: Option<usize>) -> Vec<Unit<'_>> {
    units(spec).into_iter().flat_map(|unit| divided(unit, most)).collect()
}

fn divided<'a>(unit: Unit<'a>, most: Option<usize>) -> Vec<Unit<'a>> {
    let (Job::Training(training), Some(most)) = (unit.job, most) else { return vec![unit] };
    let n = training.student.len();
    if n <= most || !is_divisible(training) {
        return vec![unit];
    }
    let parts = (0..n).step_by(most).map(|first| first..n.min(first + most));
    parts.map(|part| Unit { students: Some(part), ..unit.clone() }).collect()
}

fn is_divisible(training: &TrainingSpec) -> bool {
    !training
        .student
        .iter()
        .flat_map(StudentSpec::objectives)
        .any(|loss| loss.as_dyn().needs_peers())
}

impl Unit<'_> {
    /// Whether one of `records` says that its job is done with this seed.
    pub(super) fn is_done(&self, records: &[Record]) -> bool {
        records.iter().any(|record| self.job.is_recorded_by(record, self.seed))
    }

    /// Short, and of letters that names of files may have.
    pub(super) fn name(&self) -> String {
        let of = |first: &str, ModelId { training, model }: &ModelId| {
            format!("{first}-{training}-{model}")
        };
        let name = match self.job {
            Job::Choice(training) => training.choice_name(),
            Job::Training(training) => training.name.clone(),
            Job::Evaluation(section, source) => of(&section.name, source),
            Job::Census(_, source) => of("census", source),
            Job::Attack(section, source, spec) => {
                let radius = spec.as_dyn().eps().map_or(String::new(), |eps| format!("-eps{eps}"));
                of(&section.name, source) + &radius
            }
            Job::Pictures(section, source) => of(&section.name, source) + "-pictures",
            Job::Audit(section, source) => of(&section.name, source),
            Job::WorstCase(source) => of("worst-case", source),
        };
        let first =
            self.students.as_ref().map_or(String::new(), |of| format!("-from{}", of.start + 1));
        format!("{name}-seed{}{first}", self.seed)
    }

    /// Whether no other part of its cohort comes behind it.
    pub(super) fn is_last(&self) -> bool {
        match (self.job, &self.students) {
            (Job::Training(training), Some(students)) => students.end == training.student.len(),
            _ => true,
        }
    }

    /// The places among `all` of what must be done before.
    pub(super) fn needs(&self, all: &[Unit<'_>]) -> Vec<usize> {
        let is_needed = |other: &Unit<'_>| match (self.job, other.job) {
            (Job::Training(training), Job::Choice(choice)) => training.name == choice.name,
            (Job::WorstCase(source), Job::Attack(_, attacked, _)) => {
                (self.seed, source) == (other.seed, attacked)
            }
            (_, Job::Training(training)) => {
                self.seed == other.seed && self.job.trainings().contains(&&*training.name)
            }
            _ => false,
        };
        all.iter().enumerate().filter(|(_, other)| is_needed(other)).map(|(i, _)| i).collect()
    }
}
