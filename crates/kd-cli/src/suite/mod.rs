//! Suites: experiments as data, and the resolved spec of a run.

mod file;
mod resolve;
mod robustness;

pub(crate) use file::{StudentFile, Suite, TrainingFile};
pub(crate) use resolve::{Spec, StudentSpec, Teacher, TrainingSpec, resolve};
pub(crate) use robustness::{
    AttackSection, AuditSection, CensusSpec, ImagesSpec, Robustness, Source,
};
