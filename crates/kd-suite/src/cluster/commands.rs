//! The tasks of a run as a list of commands, for any engine that can start commands on machines.

use std::path::Path;

use kd_core::Result;

use super::open_tasks;
use crate::run::Tasks;

/// A line for each task of the run in `folder` that is not done: its stage, a tab, and `command` with the task's
/// number. The commands of a stage may run at the same time, on all machines that see the folder; those of the
/// next one begin when they have ended.
///
/// # Errors
/// Those of the files.
pub fn commands(tasks: &Tasks, folder: &Path, command: &str) -> Result<String> {
    let line = |place: usize| {
        let stage = tasks.tasks[place].stage;
        format!("{stage}\tKD_TASK={place} {command}\n")
    };
    Ok(open_tasks(tasks, folder)?.into_iter().map(line).collect())
}
