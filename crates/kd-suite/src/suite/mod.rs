//! Suites: experiments as data, and the resolved spec of a run.

mod blank;
mod choose;
mod class;
mod decoding;
mod file;
mod holdout;
mod names;
mod questions;
mod readings;
mod resolve;
mod spec;
mod teacher;

pub(crate) use choose::SEED as CHOICE_SEED;
pub use class::Class;
pub use decoding::Decoding;
pub use file::{
    AttackFile, AuditFile, AverageOf, CensusFile, Choose, EvaluationFile, Grid, Preset, Student,
    Suite, TeacherFile, TrainingFile,
};
pub use holdout::Holdout;
pub use names::{data, loss, model};
pub use readings::{Epoch, Readings, Term};
pub use resolve::resolve;
pub use spec::Spec;
pub(crate) use spec::{
    AttackSection, AuditSection, CensusSpec, ChooseSpec, EvaluationSection, ImagesSpec,
    InitWeights, StudentSpec, Teacher, TrainingSpec,
};

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
