//! What a run does: one list of jobs, in the order in which they are done.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Instant;

use kd_adv::AttackSpec;
use kd_core::record::{AttackRecord, ModelId, Record};
use kd_core::{Result, checkpoint};
use kd_train::MetricsLog;

use super::context::Context;
use super::trial::Trial;
use super::{choosing, training};
use crate::suite::{
    AttackSection, AuditSection, CensusSpec, EvaluationSection, ImagesSpec, Spec, Teacher,
    TrainingSpec,
};

/// What leaves records of its own, is skipped when they are there, and goes on where it was
/// interrupted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Job<'a> {
    /// The objectives of a cohort's students, chosen once for all seeds.
    Choice(&'a TrainingSpec),
    /// A cohort, from its first step to its models.
    Training(&'a TrainingSpec),
    /// A model on other images.
    Evaluation(&'a EvaluationSection, &'a ModelId),
    /// How large logits and gradients are.
    Census(&'a CensusSpec, &'a ModelId),
    /// An attack at one radius.
    Attack(&'a AttackSection, &'a ModelId, &'a AttackSpec),
    /// Pictures of an attack.
    Pictures(&'a AttackSection, &'a ModelId),
    /// An audit.
    Audit(&'a AuditSection, &'a ModelId),
    /// All attacks on a model, joined image by image.
    WorstCase(&'a ModelId),
}

/// Everything that `spec` asks for with each seed, in the order in which it is done.
pub(super) fn jobs(spec: &Spec) -> Vec<Job<'_>> {
    let asked = &spec.questions;
    let mut jobs = Vec::new();
    for training in &spec.training {
        jobs.extend(training.choose.as_ref().map(|_| Job::Choice(training)));
        jobs.push(Job::Training(training));
    }
    for section in &asked.evaluation {
        jobs.extend(section.models.iter().map(|source| Job::Evaluation(section, source)));
    }
    if let Some(census) = &asked.census {
        jobs.extend(census.models.iter().map(|source| Job::Census(census, source)));
    }
    for attack in &asked.attack {
        let specs = || std::iter::once(&attack.attack).chain(&attack.curve);
        for source in &attack.models {
            jobs.extend(specs().map(|spec| Job::Attack(attack, source, spec)));
            if attack.pictures > 0 {
                jobs.push(Job::Pictures(attack, source));
            }
        }
    }
    for audit in &asked.audit {
        jobs.extend(audit.models.iter().map(|source| Job::Audit(audit, source)));
    }
    for source in asked.attack.iter().flat_map(|attack| &attack.models) {
        if !jobs.contains(&Job::WorstCase(source)) {
            jobs.push(Job::WorstCase(source));
        }
    }
    jobs
}

impl Job<'_> {
    /// Whether there is anything to do with `seed`: what is chosen for all seeds is with the first.
    pub(super) fn is_of(&self, seed: u64) -> bool {
        seed == 0 || !matches!(self, Self::Choice(_))
    }

    /// The trainings whose models it begins with.
    pub(super) fn trainings(&self) -> Vec<&str> {
        match self {
            Self::Choice(training) | Self::Training(training) => {
                let teachers = training.teacher.iter().flat_map(Teacher::members);
                let trained = teachers.filter_map(|member| match member {
                    Teacher::Training(name) => Some(name.as_str()),
                    _ => None,
                });
                trained.chain(training.init.iter().map(|source| &*source.training)).collect()
            }
            Self::Evaluation(_, source) | Self::WorstCase(source) => vec![&source.training],
            Self::Census(section, source) => of_models(source, &[], &section.images),
            Self::Attack(section, source, _) => {
                of_models(source, &section.transfer_to, &section.images)
            }
            Self::Pictures(section, source) => of_models(source, &[], &section.images),
            Self::Audit(section, source) => {
                of_models(source, &section.transfer_from, &section.images)
            }
        }
    }

    /// Does what is not done with `seed`; returns its wall time in seconds, over all processes that
    /// worked on it, or nothing when it was interrupted. `records` are those of earlier processes; of a cohort
    /// only `students` are trained, where they are given.
    pub(super) fn run(
        &self,
        (context, seed, students): (&Context<'_>, u64, Option<Range<usize>>),
        records: &[Record],
        log: &mut MetricsLog,
    ) -> Result<Option<f64>> {
        let trial = &Trial { context, seed };
        match *self {
            Self::Choice(training) => choosing::run(context, training, (records, log)),
            Self::Training(training) => {
                let mut settled = choosing::settled(context, training)?;
                if let Some(students) = students {
                    settled.student = settled.student[students].to_vec();
                }
                training::run(context, &settled, seed, (records, log))
            }
            Self::Evaluation(section, source) => {
                self.once(trial, (records, log), || trial.evaluation(section, source).map(Some))
            }
            Self::Census(section, source) => {
                self.once(trial, (records, log), || trial.census(section, source).map(Some))
            }
            Self::Attack(section, source, spec) => {
                self.once(trial, (records, log), || trial.attack(section, source, spec))
            }
            Self::Pictures(section, source) => {
                self.once(trial, (records, log), || trial.pictures(section, source).map(Some))
            }
            Self::Audit(section, source) => {
                self.once(trial, (records, log), || trial.audit(section, source).map(Some))
            }
            Self::WorstCase(source) => join(trial, source, (records, log)).map(Some),
        }
    }

    /// Does `work` and records it, unless that was done before.
    fn once(
        &self,
        trial: &Trial<'_>,
        (records, log): (&[Record], &mut MetricsLog),
        work: impl FnOnce() -> Result<Option<Record>>,
    ) -> Result<Option<f64>> {
        if let Some(record) = records.iter().find(|r| self.is_recorded_by(r, trial.seed)) {
            return Ok(Some(attack_seconds(record).unwrap_or(0.0)));
        }
        if trial.context.setting.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let started = Instant::now();
        let Some(record) = work()? else { return Ok(None) };
        log.append(&record)?;
        log.sync()?;
        checkpoint::remove(&trial.context.folder.attack_state())?;
        Ok(Some(attack_seconds(&record).unwrap_or_else(|| started.elapsed().as_secs_f64())))
    }

    /// Whether `record` is this job's last one with `seed`.
    pub(super) fn is_recorded_by(&self, record: &Record, seed: u64) -> bool {
        let is = |source: &ModelId, of: u64, id: &ModelId| (seed, source) == (of, id);
        match (self, record) {
            (Self::Choice(training), record) => choosing::candidate(record, training).is_some(),
            (Self::Training(training), Record::Final(r)) => {
                let last = training.student.last().map(|student| student.name.as_str());
                (r.seed, &r.id.training, Some(&*r.id.model)) == (seed, &training.name, last)
            }
            (Self::Evaluation(section, source), Record::Evaluation(r)) => {
                is(source, r.seed, &r.id) && r.name == section.name
            }
            (Self::Census(_, source), Record::Census(r)) => is(source, r.seed, &r.id),
            (Self::Attack(section, source, spec), Record::Attack(r)) => {
                is(source, r.seed, &r.id)
                    && r.attack == section.name
                    && r.eps.map(|eps| eps as f32) == spec.as_dyn().eps()
            }
            (Self::Pictures(section, source), Record::Pictures(r)) => {
                is(source, r.seed, &r.id) && r.attack == section.name
            }
            (Self::Audit(_, source), Record::Audit(r)) => is(source, r.seed, &r.id),
            _ => false,
        }
    }

    /// The model under attack, the number of images, and for each how often at most its gradient is
    /// needed: most attacks are done with an image as soon as they succeed. Nothing for the rest.
    pub(super) fn passes(&self, n_pixels: usize) -> Option<(&ModelId, usize, usize)> {
        match self {
            Self::Choice(_) | Self::Training(_) | Self::Evaluation(..) | Self::WorstCase(_) => None,
            Self::Census(section, source) => Some((source, section.images.n_images, 1)),
            Self::Attack(section, source, spec) => {
                Some((source, section.images.n_images, spec.as_dyn().n_passes(n_pixels)))
            }
            Self::Pictures(section, source) => {
                Some((source, section.pictures, section.attack.as_dyn().n_passes(n_pixels)))
            }
            Self::Audit(section, source) => {
                let n_passes = section.audit.n_passes(section.transfer_from.len());
                Some((source, section.images.n_images, n_passes))
            }
        }
    }
}

/// Whose models are attacked, shown the images, and choose them.
fn of_models<'m>(
    source: &'m ModelId,
    others: &'m [ModelId],
    images: &'m ImagesSpec,
) -> Vec<&'m str> {
    let all = std::iter::once(source).chain(others).chain(&images.correct_by);
    all.map(|model| &*model.training).collect()
}

/// The wall time of an attack, over all processes that worked on it.
fn attack_seconds(record: &Record) -> Option<f64> {
    match record {
        Record::Attack(record) => Some(record.seconds),
        _ => None,
    }
}

/// Records all attacks on `source` together, where that was not done before.
fn join(
    trial: &Trial<'_>,
    source: &ModelId,
    (records, log): (&[Record], &mut MetricsLog),
) -> Result<f64> {
    for record in trial.worst_cases(source)? {
        let is_this = |other: &Record| match other {
            Record::Attack(other) => {
                AttackRecord { seconds: other.seconds, ..record.clone() } == *other
            }
            _ => false,
        };
        if !records.iter().any(is_this) {
            log.append(&Record::Attack(record))?;
        }
    }
    log.sync()?;
    Ok(0.0)
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
