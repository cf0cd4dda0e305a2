//! The folder of a run: one spec, one process at a time.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use kd_core::record::{self, ModelId, Record};
use kd_core::{Error, Lease, Owner, Result, fsx};
use serde::de::DeserializeOwned;

use super::difference::{difference, fewer_seeds};
use super::tasks::{Tasks, UNITS, seconds};

/// What a run writes into its folder.
const WRITTEN: [&str; 12] = [
    "metrics.jsonl",
    "tasks.json",
    "units",
    "slurm",
    "spec.toml",
    "report.html",
    "report.json",
    "report.md",
    "checkpoints",
    "attack-state",
    "outcomes",
    "pictures",
];

/// Bytes of a `spec.toml` at most.
const MAX_SPEC: u64 = 1 << 22;

/// A results folder: all of it for one process, or a unit of it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The unit that is written to; nothing where it is the run as a whole.
    unit: Option<String>,
    /// Of the whole folder; nothing where a unit has one.
    _lease: Option<Lease>,
}

/// Ends a process whose place another one has taken: it was stopped for so long that it seemed gone.
pub(super) fn lost() {
    eprintln!("another process has gone on with this run in the meantime");
    std::process::exit(75);
}

impl Folder {
    /// Creates or takes up `path` for the run described by `spec`, for this process alone.
    pub(crate) fn open(path: &Path, spec: &str) -> Result<Self> {
        fsx::create_folder(path)?;
        let lease = Some(Lease::take(&whole(path), lost)?);
        let folder = Self { path: path.into(), unit: None, _lease: lease };
        folder.claim(spec)?;
        refuse_tasks(path)?;
        folder.sweep()?;
        Ok(folder)
    }

    /// The seeds of the run in `path`, if `spec` asks for more of them and for nothing else. The units of a divided run
    /// are fixed.
    pub(super) fn fewer_seeds(path: &Path, spec: &str) -> Result<Option<u64>> {
        let Some(found) = fsx::read_if_there(&of_spec(path), MAX_SPEC)? else { return Ok(None) };
        let fewer = fewer_seeds(&String::from_utf8_lossy(&found), spec);
        Ok(if Tasks::read(path)?.is_some() { None } else { fewer })
    }

    /// Whether the run in `path` came to its end.
    pub(super) fn is_finished(path: &Path) -> Result<bool> {
        Ok(seconds(&Self::of_another(path).records()?).is_some())
    }

    /// Makes the run in `path`, which is finished, that of `spec`.
    pub(super) fn add_seeds(path: &Path, spec: &str) -> Result<()> {
        let _lease = Lease::take(&whole(path), lost)?;
        fsx::write_atomic(&of_spec(path), spec.as_bytes())
    }

    /// The folder of the run described by `spec`, beside other processes that work on other units of it.
    ///
    /// # Errors
    /// [`Error::Busy`] while a process has all of it for itself.
    pub(super) fn join(path: &Path, spec: &str) -> Result<Self> {
        fsx::create_folder(path)?;
        let folder = Self { path: path.into(), unit: None, _lease: None };
        folder.claim(spec)?;
        match Lease::owner(&whole(path))? {
            Some(Owner { host, pid, .. }) => Err(Error::Busy { path: path.into(), host, pid }),
            None => Ok(folder),
        }
    }

    /// The folder of a run that another process writes.
    pub(super) fn of_another(path: &Path) -> Self {
        Self { path: path.into(), unit: None, _lease: None }
    }

    /// The same folder, to write to the unit `name`, of which the caller has the lease.
    pub(super) fn of_unit(&self, name: &str) -> Self {
        Self { path: self.path.clone(), unit: Some(name.into()), _lease: None }
    }

    /// Refuses the folder of another run; a new one is this run's from now on.
    fn claim(&self, spec: &str) -> Result<()> {
        let spec_path = of_spec(&self.path);
        let found = match fsx::read_if_there(&spec_path, MAX_SPEC)? {
            Some(found) => found,
            None => {
                fsx::write_new(&spec_path, spec.as_bytes())?;
                fsx::read_bounded(&spec_path, MAX_SPEC, "")?
            }
        };
        if found == spec.as_bytes() {
            return Ok(());
        }
        let difference = difference(&String::from_utf8_lossy(&found), spec);
        let reason = format!(
            "{} holds another run: {difference}; remove it or choose another",
            self.path.display()
        );
        Err(Error::config("out", reason))
    }

    /// Removes what an earlier run left in `path`, of any spec, and nothing else.
    pub(crate) fn clear(path: &Path) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        let _lease = Lease::take(&whole(path), lost)?;
        refuse_tasks(path)?;
        for path in WRITTEN.map(|name| path.join(name)) {
            if path.is_dir() {
                fs::remove_dir_all(&path).map_err(Error::io(&path, "remove"))?;
            } else {
                fsx::remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the records that are written.
    pub(crate) fn metrics(&self) -> PathBuf {
        match &self.unit {
            Some(unit) => self.path.join(UNITS).join(format!("{unit}.jsonl")),
            None => self.path.join("metrics.jsonl"),
        }
    }

    /// The records so far, those of all units where the run is divided.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        if let Some(tasks) = Tasks::read(&self.path)? {
            let records = tasks.units.iter().map(|unit| unit.records(&self.path));
            return Ok(records.collect::<Result<Vec<_>>>()?.concat());
        }
        match record::read(&self.metrics()) {
            Err(Error::Missing { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Reads the JSON file `name`; nothing where it is not there.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path.join(name);
        let bytes = match fsx::read_bounded(&path, 1 << 28, "") {
            Err(Error::Missing { .. }) => return Ok(None),
            bytes => bytes?,
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|e| Error::Parse { path, offset: 0, reason: e.to_string() })
    }

    /// Writes the JSON file `name`, one folder below at most.
    pub(crate) fn write(&self, name: &str, json: serde_json::Result<Vec<u8>>) -> Result<()> {
        let path = self.path.join(name);
        let bytes = json.map_err(|e| Error::config(name, e.to_string()))?;
        fsx::create_folder(path.parent().unwrap_or(&self.path))?;
        fsx::write_atomic(&path, &bytes)
    }

    /// Where a model lies when its training is done.
    pub(crate) fn checkpoint(&self, training: &str, seed: u64, model: &str) -> PathBuf {
        checkpoint(&self.path, &ModelId::new(training, model), seed)
    }

    /// Where the state of a training lies while it is not done.
    pub(crate) fn state(&self, training: &str, seed: u64) -> PathBuf {
        match &self.unit {
            Some(unit) => self.path.join(UNITS).join(format!("{unit}-state")),
            None => self.checkpoints().join(format!("{training}-seed{seed}-state")),
        }
    }

    /// Where the state of an attack lies while it is not done.
    pub(crate) fn attack_state(&self) -> PathBuf {
        match &self.unit {
            Some(unit) => self.path.join(UNITS).join(format!("{unit}-attack")),
            None => self.path.join("attack-state"),
        }
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Removes what killed processes left of files and checkpoints that they were writing: here, one
    /// folder below, and among the checkpoints two. No other process may be at work in the folder.
    fn sweep(&self) -> Result<()> {
        for name in ["", "attack-state", "checkpoints", "outcomes", "pictures", UNITS] {
            sweep(&self.path.join(name))?;
        }
        subfolders(&self.checkpoints()).iter().try_for_each(|folder| sweep(folder))
    }
}

/// Refuses a folder in which tasks are at work.
fn refuse_tasks(folder: &Path) -> Result<()> {
    let tasks = Tasks::read(folder)?;
    for unit in tasks.iter().flat_map(|tasks| &tasks.units) {
        let path = unit.place(folder);
        if let Some(Owner { host, pid, .. }) = Lease::owner(&path)? {
            return Err(Error::Busy { path, host, pid });
        }
    }
    Ok(())
}

/// Where the run in `folder` is described.
fn of_spec(folder: &Path) -> PathBuf {
    folder.join("spec.toml")
}

/// What the lease of a whole folder is of.
fn whole(folder: &Path) -> PathBuf {
    folder.join("run")
}

/// Where the model `id` of `seed` lies in the folder of a run, when its training is done.
pub fn checkpoint(run: &Path, id: &ModelId, seed: u64) -> PathBuf {
    run.join("checkpoints").join(format!("{}-seed{seed}", id.training)).join(&id.model)
}

/// Removes the temporary files and folders right in `folder`.
fn sweep(folder: &Path) -> Result<()> {
    for entry in entries(folder) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".saving-") {
            kd_core::checkpoint::remove(&entry.path())?;
        } else if name.starts_with(".tmp") {
            fs::remove_file(entry.path()).map_err(Error::io(entry.path(), "remove"))?;
        }
    }
    Ok(())
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// What is in `folder`; nothing when it does not exist.
fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}
