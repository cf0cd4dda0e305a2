#![doc = include_str!("../README.md")]

mod calibrate;
mod choice;
mod cohort;
pub mod correction;
mod course;
mod evaluate;
mod fit;
mod folder;
pub mod losses;
mod measure;
mod memory;
mod metrics_log;
mod optimizer;
mod plan;
mod prepared;
mod progress;
mod schedule;
mod score;
mod soft_targets;
mod step;
mod student;
mod tally;
mod teacher;
#[cfg(test)]
mod testing;
mod trunk;

pub use calibrate::{calibrated_temperature, probabilities};
pub use choice::Keep;
pub use cohort::Cohort;
pub use course::{Data, Outcome, Run};
pub use evaluate::{EvalSet, logits};
pub use fit::fit;
pub use folder::fit_in;
pub use kd_core::argmax;
pub use kd_core::ops::OptimizerSpec;
pub use losses::{Loss, LossInput, LossSpec};
pub use metrics_log::MetricsLog;
pub use optimizer::{Optimize, Optimizer};
pub use plan::Plan;
pub use prepared::{Prepared, prepare};
pub use progress::Counters;
pub use schedule::{Anneal, At, Schedule};
pub use score::score;
pub use soft_targets::{SoftTargetStore, SoftTargets};
pub use step::train_step;
pub use student::Student;
