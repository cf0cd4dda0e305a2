#![doc = include_str!("../README.md")]

pub mod examples;
mod run;
mod suite;
pub mod weights;

pub use run::{Folder, Progress, Setting, run};
pub use suite::{
    AttackFile, AuditFile, CensusFile, Grid, Preset, Spec, StudentFile, Suite, TrainingFile, model,
    resolve,
};
