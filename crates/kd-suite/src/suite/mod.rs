//! Suites: experiments as data, and the resolved spec of a run.

mod file;
mod names;
mod resolve;
mod robustness;

pub use file::{Grid, Preset, Student, Suite, TrainingFile};
pub use names::{data, model};
pub use resolve::{Spec, resolve};
pub(crate) use resolve::{Teacher, TrainingSpec};
pub use robustness::{AttackFile, AuditFile, CensusFile};
pub(crate) use robustness::{AttackSection, AuditSection, CensusSpec, ImagesSpec, Source};

#[cfg(test)]
mod tests;
