#![doc = include_str!("../README.md")]

mod attack;
mod examples;
mod run;
mod suite;
pub mod weights;

pub use attack::{AttackReport, AttackResult, AttackTask, NetworkFile};
pub use run::{Progress, Setting, run};
pub use suite::{
    AttackFile, AuditFile, CensusFile, Grid, Preset, Spec, Student, Suite, TrainingFile, model,
    resolve,
};
