//! Suites: experiments as data, and the resolved spec of a run.

mod file;
mod resolve;

pub(crate) use file::{StudentFile, Suite, TrainingFile};
pub(crate) use resolve::{Spec, StudentSpec, Teacher, TrainingSpec, resolve};
