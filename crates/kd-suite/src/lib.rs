#![doc = include_str!("../README.md")]

mod attack;
pub mod bench;
mod examples;
mod run;
mod subject;
mod suite;
pub mod weights;

pub use attack::{AttackReport, AttackResult, AttackTask};
pub use run::{Progress, Setting, run};
pub use subject::{Evaluated, NetworkFile, Subject};
pub use suite::{
    AttackFile, AuditFile, CensusFile, Grid, Preset, Spec, Student, Suite, TrainingFile, data,
    model, resolve,
};
