//! Handing a run that is divided into tasks to an engine that has machines.

mod commands;
mod slurm;
mod status;

pub use commands::commands;
pub use slurm::{Array, Slurm};
pub use status::{Status, UnitStatus};

use std::path::Path;

use kd_core::Result;

use crate::run::{State, Tasks};

/// The places of the tasks of the run in `folder` that have anything to do; the last one always has.
///
/// # Errors
/// Those of the files.
fn open_tasks(tasks: &Tasks, folder: &Path) -> Result<Vec<usize>> {
    let states = tasks.states(folder)?;
    let is_open = |units: &[usize]| units.iter().any(|&unit| states[unit] != State::Done);
    let all = tasks.tasks.iter().enumerate();
    let open = all.filter(|(_, task)| task.units.is_empty() || is_open(&task.units));
    Ok(open.map(|(place, _)| place).collect())
}
