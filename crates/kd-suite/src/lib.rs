#![doc = include_str!("../README.md")]

mod attack;
mod classes;
mod cluster;
mod configured;
mod examples;
mod list;
mod predict;
mod ranks;
mod registries;
mod remarks;
mod run;
mod subject;
mod suite;
mod table;
mod threads;
pub mod weights;

pub use attack::{AttackReport, AttackResult, AttackTask, attacks, audit};
pub use cluster::{Array, Slurm, Status, UnitStatus, commands};
pub use list::{Shown, Written};
pub use predict::{Likely, Prediction, Predictor, groups, pictures};
pub use ranks::World;
pub use registries::Registries;
pub use run::{
    Progress, Setting, Size, State, Submitted, Task, Tasks, UnitPlan, checkpoint_of, contents,
    divide, follow, run, run_task,
};
pub use subject::{Evaluated, NetworkFile, Source, Subject};
pub use suite::{
    AttackFile, AuditFile, AverageOf, CensusFile, Choose, Class, Decoding, Epoch, EvaluationFile,
    Grid, Holdout, Preset, Readings, Spec, Student, Suite, TeacherFile, Term, TrainingFile, data,
    loss, model, resolve,
};
pub use table::table;
pub use threads::{on_threads, prepare_process};
pub use weights::image_shape;
