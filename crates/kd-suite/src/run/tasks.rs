//! What a run is divided into for machines that share its folder: the file `tasks.json`.
//!
//! Key decision: everything about the run stands in files of its folder, so that any engine that starts
//! commands on machines can work it off, and nothing has to be asked of the engine afterwards.

use std::path::{Path, PathBuf};

use kd_core::record::Record;
use kd_core::{Error, Lease, Owner, Result, fsx, record};
use serde::{Deserialize, Serialize};

/// Name of the file.
const FILE: &str = "tasks.json";
/// Folder of the records of units.
pub(super) const UNITS: &str = "units";

/// The units of a run, and the tasks that they are bundled into.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tasks {
    /// What the suite is called.
    pub suite: String,
    /// How it was divided.
    pub size: Size,
    /// What is done in one go, in the order in which one process does it.
    pub units: Vec<UnitPlan>,
    /// What is started at once. The last has no unit: it brings the records together.
    pub tasks: Vec<Task>,
    /// What was handed to an engine.
    pub submitted: Vec<Submitted>,
}

/// How large the tasks are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// What takes less than so many seconds is bundled.
    pub seconds: f64,
    /// Students of a cohort that are trained together at most; all where there is nothing.
    pub students: Option<usize>,
}

/// A training, an evaluation, an attack or an audit with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitPlan {
    /// Number and name: what its files are called.
    pub name: String,
    /// The places of the units that must be done before.
    pub needs: Vec<usize>,
    /// How long it takes on the machine that divided the run, about.
    pub seconds: f64,
}

/// Units that are done one after another by one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Tasks of one stage need nothing of each other, and only what earlier stages made.
    pub stage: usize,
    /// The places of its units.
    pub units: Vec<usize>,
}

/// Tasks that an engine was given as one array of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submitted {
    /// The engine's name for it.
    pub id: String,
    /// The places of its tasks.
    pub tasks: Vec<usize>,
    /// The first of them is the array's number 0.
    pub first: usize,
}

/// Where a unit stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// Its records are complete.
    Done,
    /// A process is at it.
    Running {
        /// The process.
        #[serde(flatten)]
        owner: Owner,
        /// The last epoch that it recorded.
        epoch: Option<u64>,
    },
    /// The last attempt ended with an error.
    Failed {
        /// The error.
        reason: String,
    },
    /// Nobody is at it.
    Queued {
        /// The last epoch before it was interrupted.
        epoch: Option<u64>,
    },
}

impl Tasks {
    /// Bundles `units` into tasks of about this size each, or one unit where that takes longer.
    pub(super) fn of(suite: &str, units: Vec<UnitPlan>, size: Size) -> Self {
        let stages = stages(&units);
        let n_stages = stages.iter().max().map_or(0, |last| last + 1);
        let mut tasks = Vec::new();
        for stage in 0..n_stages {
            let places = (0..units.len()).filter(|&place| stages[place] == stage);
            tasks.extend(bundles(&units, places, size.seconds).map(|units| Task { stage, units }));
        }
        tasks.push(Task { stage: n_stages, units: Vec::new() });
        Self { suite: suite.into(), size, units, tasks, submitted: Vec::new() }
    }

    /// Those of the run in `folder`; nothing where it is not divided.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] when the file is damaged.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let Some(bytes) = fsx::read_if_there(&path, 1 << 26)? else { return Ok(None) };
        let parse = |e: serde_json::Error| Error::parse(&path, e.to_string());
        let tasks: Self = serde_json::from_slice(&bytes).map_err(parse)?;
        let n = tasks.units.len();
        let is_whole = tasks.tasks.iter().flat_map(|task| &task.units).all(|&place| place < n)
            && tasks
                .units
                .iter()
                .enumerate()
                .all(|(i, unit)| unit.needs.iter().all(|&need| need < i));
        is_whole
            .then_some(Some(tasks))
            .ok_or_else(|| Error::parse(&path, "names a unit that is not there"))
    }

    /// Writes them into `folder`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self);
        let json = json.map_err(|e| Error::config(FILE, e.to_string()))?;
        fsx::create_folder(&folder.join(UNITS))?;
        fsx::write_atomic(&folder.join(FILE), &json)
    }

    /// Where each unit of the run in `folder` stands.
    ///
    /// # Errors
    /// Those of the files.
    pub fn states(&self, folder: &Path) -> Result<Vec<State>> {
        self.units.iter().map(|unit| unit.state(folder)).collect()
    }

    /// The task `number`.
    ///
    /// # Errors
    /// [`Error::Config`] with the numbers that there are.
    pub(super) fn task(&self, number: usize) -> Result<&Task> {
        self.tasks.get(number).ok_or_else(|| {
            let reason = format!("there is no {number}; the run has 0 to {}", self.tasks.len() - 1);
            Error::config("task", reason)
        })
    }
}

impl UnitPlan {
    /// Its records in the run in `folder`.
    pub(super) fn records(&self, folder: &Path) -> Result<Vec<Record>> {
        match record::read(&self.path(folder, ".jsonl")) {
            Err(Error::Missing { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// What is written where it failed.
    pub(super) fn failure(&self, folder: &Path) -> PathBuf {
        self.path(folder, ".failed")
    }

    /// What its lease is of.
    pub(super) fn place(&self, folder: &Path) -> PathBuf {
        self.path(folder, "")
    }

    fn path(&self, folder: &Path, ending: &str) -> PathBuf {
        folder.join(UNITS).join(format!("{}{ending}", self.name))
    }

    /// Where it stands.
    pub(super) fn state(&self, folder: &Path) -> Result<State> {
        let records = self.records(folder)?;
        if seconds(&records).is_some() {
            return Ok(State::Done);
        }
        let epoch = records.iter().rev().find_map(|record| match record {
            Record::Epoch(r) => Some(r.epoch),
            _ => None,
        });
        if let Some(owner) = Lease::owner(&self.place(folder))? {
            return Ok(State::Running { owner, epoch });
        }
        let failure = fsx::read_if_there(&self.failure(folder), 1 << 16)?;
        Ok(match failure {
            Some(reason) => State::Failed { reason: String::from_utf8_lossy(&reason).into_owned() },
            None => State::Queued { epoch },
        })
    }
}

/// The wall time of a unit, or of a run, whose records are complete.
pub(super) fn seconds(records: &[Record]) -> Option<f64> {
    match records.last() {
        Some(Record::Done { wall_seconds }) => Some(*wall_seconds),
        _ => None,
    }
}

/// For each unit, how many others must be done one after another before it.
fn stages(units: &[UnitPlan]) -> Vec<usize> {
    let mut stages: Vec<usize> = Vec::with_capacity(units.len());
    for unit in units {
        let before = unit.needs.iter().map(|&need| stages[need] + 1);
        stages.push(before.max().unwrap_or(0));
    }
    stages
}

/// `places`, in groups that take about `seconds`.
fn bundles(
    units: &[UnitPlan],
    places: impl Iterator<Item = usize>,
    seconds: f64,
) -> impl Iterator<Item = Vec<usize>> {
    let (mut bundles, mut left) = (vec![], 0.0);
    for place in places {
        if left <= 0.0 {
            bundles.push(vec![]);
            left = seconds;
        }
        bundles.last_mut().expect("invariant: one was pushed").push(place);
        left -= units[place].seconds;
    }
    bundles.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { seconds: 10.0, students: None };

    fn units(all: &[(&[usize], f64)]) -> Vec<UnitPlan> {
        let unit = |(i, (needs, seconds)): (usize, &(&[usize], f64))| UnitPlan {
            name: format!("{i:04}"),
            needs: needs.to_vec(),
            seconds: *seconds,
        };
        all.iter().enumerate().map(unit).collect()
    }

    #[test]
    fn small_units_of_a_stage_are_bundled_and_large_ones_stand_alone() {
        let all =
            units(&[(&[], 5.0), (&[0], 9.0), (&[0], 2.0), (&[1], 1.0), (&[], 90.0), (&[4], 1.0)]);
        let tasks = Tasks::of("tiny", all, SIZE).tasks;
        let listed: Vec<_> = tasks.iter().map(|task| (task.stage, &task.units[..])).collect();
        let want: [(usize, &[usize]); 4] = [(0, &[0, 4]), (1, &[1, 2]), (1, &[5]), (2, &[3])];
        assert_eq!(listed[..4], want);
        assert_eq!(listed[4..], [(3, &[][..])], "the last brings the records together");
    }

    #[test]
    fn a_run_without_units_still_ends() {
        assert_eq!(Tasks::of("none", vec![], SIZE).tasks, [Task { stage: 0, units: vec![] }]);
    }

    #[test]
    fn they_are_read_as_written_and_a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert_eq!(Tasks::read(at).unwrap(), None);
        let mut tasks = Tasks::of("tiny", units(&[(&[], 1.0), (&[0], 1.0)]), SIZE);
        tasks.write(at).unwrap();
        assert_eq!(Tasks::read(at).unwrap().unwrap(), tasks);
        assert!(tasks.task(2).is_ok() && tasks.task(3).unwrap_err().to_string().contains("0 to 2"));
        tasks.units[0].needs = vec![1];
        tasks.write(at).unwrap();
        assert!(matches!(Tasks::read(at), Err(Error::Parse { .. })));
        std::fs::write(at.join(FILE), "{").unwrap();
        assert!(matches!(Tasks::read(at), Err(Error::Parse { .. })));
    }

    #[test]
    fn a_unit_stands_where_its_files_say() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let unit = &units(&[(&[], 1.0)])[0];
        std::fs::create_dir(at.join(UNITS)).unwrap();
        assert_eq!(unit.state(at).unwrap(), State::Queued { epoch: None });
        std::fs::write(unit.failure(at), "no room").unwrap();
        assert_eq!(unit.state(at).unwrap(), State::Failed { reason: "no room".into() });
        let lease = Lease::take(&unit.place(at), || ()).unwrap();
        assert!(matches!(unit.state(at).unwrap(), State::Running { epoch: None, .. }));
        drop(lease);
        let done = serde_json::to_string(&Record::Done { wall_seconds: 2.0 }).unwrap() + "\n";
        std::fs::write(unit.path(at, ".jsonl"), done).unwrap();
        assert_eq!(unit.state(at).unwrap(), State::Done);
    }
}
