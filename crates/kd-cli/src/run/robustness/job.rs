//! The list of what is to be done.

use kd_adv::AttackSpec;
use kd_core::record::{ModelId, Record};

use crate::suite::{AttackSection, AuditSection, CensusSpec, Robustness, Source};

/// What one record comes from.
pub(in crate::run) enum Job<'a> {
    /// How large logits and gradients are.
    Census(&'a CensusSpec, &'a Source),
    /// An attack at one radius.
    Attack(&'a AttackSection, &'a Source, &'a AttackSpec),
    /// Pictures of an attack.
    Pictures(&'a AttackSection, &'a Source),
    /// An audit.
    Audit(&'a AuditSection, &'a Source),
}

/// Everything that is asked for, in the order in which it is done.
pub(in crate::run) fn jobs(asked: &Robustness) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
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
    jobs
}

impl Job<'_> {
    /// Whether `record` is this job's, with `seed`.
    pub(in crate::run) fn is_recorded_by(&self, record: &Record, seed: u64) -> bool {
        let is =
            |source: &Source, (of, id): (u64, &ModelId)| of == seed && *id == ModelId::from(source);
        match (self, record) {
            (Self::Census(_, source), Record::Census(r)) => is(source, (r.seed, &r.id)),
            (Self::Attack(section, source, spec), Record::Attack(r)) => {
                is(source, (r.seed, &r.id))
                    && r.attack == section.name
                    && r.eps.map(|eps| eps as f32) == spec.as_dyn().eps()
            }
            (Self::Pictures(section, source), Record::Pictures(r)) => {
                is(source, (r.seed, &r.id)) && r.attack == section.name
            }
            (Self::Audit(_, source), Record::Audit(r)) => is(source, (r.seed, &r.id)),
            _ => false,
        }
    }
}
