//! Suites: experiments as data, and the resolved spec of a run.

mod class;
mod file;
mod holdout;
mod names;
mod questions;
mod resolve;
mod spec;
mod teacher;

pub use class::Class;
pub use file::{
    AttackFile, AuditFile, AverageOf, CensusFile, EvaluationFile, Grid, Preset, Student, Suite,
    TeacherFile, TrainingFile,
};
pub use holdout::Holdout;
pub use names::{data, loss, model};
pub use resolve::resolve;
pub use spec::Spec;
pub(crate) use spec::{
    AttackSection, AuditSection, CensusSpec, EvaluationSection, ImagesSpec, InitWeights, Teacher,
    TrainingSpec,
};

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
