//! Objectives, optimizers, schedules, the training loop and evaluation.
//!
//! Key decision: the unit of training is a cohort, students that share data and teacher and are
//! trained in lockstep, so that one batch and one teacher forward serve them all; each ends with
//! the same bits as when it is trained alone. The loop, [`fit`], reads top to bottom: no
//! callbacks, no hooks, no trainer class.

mod cohort;
pub mod correction;
mod evaluate;
mod fit;
pub mod losses;
mod metrics_log;
mod optimizer;
mod schedule;
mod teacher;

pub use cohort::{Cohort, Student};
pub use evaluate::{EvalSet, logits, score};
pub use fit::{Data, Outcome, Plan, Prepared, Run, fit, prepare, train_step};
pub use kd_core::argmax;
pub use losses::LossSpec;
pub use metrics_log::MetricsLog;
pub use optimizer::{Optimizer, OptimizerSpec};
pub use schedule::{Anneal, At, Schedule};
