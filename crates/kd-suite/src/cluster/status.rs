//! Where a run that is divided into tasks stands.

use std::fmt;
use std::path::Path;

use kd_core::{Error, Result};
use serde::Serialize;

use super::slurm;
use crate::run::{State, Tasks};
use crate::table::table;

/// Where each unit of a run stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// What the suite is called.
    pub suite: String,
    /// The units, in the order in which one process would do them.
    pub units: Vec<UnitStatus>,
}

/// Where a unit stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitStatus {
    /// Number and name.
    pub name: String,
    /// Its task.
    pub task: usize,
    /// Where it stands.
    #[serde(flatten)]
    pub state: State,
    /// What the engine says of its task, while that is in its queue.
    pub queue: Option<String>,
}

impl Status {
    /// That of the run in `folder`: from its files, and what Slurm says of its queue, where there is one.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not divided; those of the files.
    pub fn read(folder: &Path) -> Result<Self> {
        let hint = "only runs that were handed to an engine have tasks: kd run SUITE --engine";
        let missing = || Error::Missing { path: folder.join("tasks.json"), hint: hint.into() };
        let tasks = Tasks::read(folder)?.ok_or_else(missing)?;
        // Without Slurm the files say all that there is to know.
        let queue = match tasks.submitted.is_empty() {
            true => Default::default(),
            false => slurm::queue().unwrap_or_default(),
        };
        let queued = |task: usize| {
            let array = tasks.submitted.iter().find(|array| array.tasks.contains(&task))?;
            queue.get(&(array.id.clone(), task - array.first)).cloned()
        };
        let unit = |(place, state): (usize, State)| {
            let task = tasks.tasks.iter().position(|task| task.units.contains(&place)).unwrap_or(0);
            UnitStatus { name: tasks.units[place].name.clone(), task, state, queue: queued(task) }
        };
        let units = tasks.states(folder)?.into_iter().enumerate().map(unit).collect();
        Ok(Self { suite: tasks.suite, units })
    }

    /// The number of units of which `is` holds.
    fn count(&self, is: impl Fn(&State) -> bool) -> usize {
        self.units.iter().filter(|unit| is(&unit.state)).count()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.count(|state| *state == State::Done);
        let running = self.count(|state| matches!(state, State::Running { .. }));
        let failed = self.count(|state| matches!(state, State::Failed { .. }));
        let queued = self.units.len() - done - running - failed;
        writeln!(
            f,
            "{}: {done} done, {running} running, {failed} failed, {queued} queued",
            self.suite
        )?;
        let row = |unit: &UnitStatus| {
            let (state, more) = words(&unit.state);
            let more = [Some(more), unit.queue.clone()].into_iter().flatten();
            let more: Vec<String> = more.filter(|words| !words.is_empty()).collect();
            [unit.name.clone(), unit.task.to_string(), state.into(), more.join("; ")]
        };
        let rows: Vec<[String; 4]> = self.units.iter().map(row).collect();
        write!(f, "{}", table(&rows, "", &[1]))
    }
}

fn words(state: &State) -> (&'static str, String) {
    let after = |epoch: &Option<u64>| epoch.map_or(String::new(), |e| format!("after epoch {e}"));
    match state {
        State::Done => ("done", String::new()),
        State::Running { owner, epoch } => {
            let at = format!("process {} on {}", owner.pid, owner.host);
            let after = after(epoch);
            ("running", if after.is_empty() { at } else { format!("{at}, {after}") })
        }
        State::Failed { reason } => ("failed", reason.clone()),
        State::Queued { epoch } => ("queued", after(epoch)),
    }
}
