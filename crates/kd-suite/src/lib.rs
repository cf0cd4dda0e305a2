#![doc = include_str!("../README.md")]

mod attack;
mod classes;
mod examples;
mod known;
mod list;
mod predict;
mod quiet;
mod remarks;
mod run;
mod subject;
mod suite;
pub mod weights;

pub use attack::{AttackReport, AttackResult, AttackTask};
pub use known::image_shape;
pub use list::Shown;
pub use predict::{Likely, Prediction, Predictor, pictures};
pub use quiet::quiet_candle;
pub use run::{Progress, Setting, checkpoint_of, contents, run};
pub use subject::{Evaluated, NetworkFile, Subject};
pub use suite::{
    AttackFile, AuditFile, AverageOf, CensusFile, Choose, Class, Epoch, EvaluationFile, Grid,
    Holdout, Preset, Readings, Spec, Student, Suite, TeacherFile, Term, TrainingFile, data, loss,
    model, resolve,
};
