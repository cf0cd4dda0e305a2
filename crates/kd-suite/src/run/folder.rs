//! The folder of a run: one spec, one process at a time.

use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kd_core::record::{self, ModelId, Record};
use kd_core::{Error, Result, fsx};
use serde::de::DeserializeOwned;

use super::difference::difference;

/// What a run writes into its folder.
const WRITTEN: [&str; 9] = [
    "metrics.jsonl",
    "spec.toml",
    "report.html",
    "report.json",
    "report.md",
    "checkpoints",
    "attack-state",
    "outcomes",
    "pictures",
];

/// A locked results folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held until the process ends, however it ends; by another one, where that writes.
    _lock: Option<fsx::Lock>,
}

impl Folder {
    /// Creates or takes up `path` for the run described by `spec`.
    pub(crate) fn open(path: &Path, spec: &str) -> Result<Self> {
        fsx::create_folder(path)?;
        let lock = fsx::Lock::take(path)?;
        let spec_path = path.join("spec.toml");
        match fsx::read_bounded(&spec_path, 1 << 22, "") {
            Ok(found) if found == spec.as_bytes() => {}
            Ok(found) => {
                let difference = difference(&String::from_utf8_lossy(&found), spec);
                let reason = format!(
                    "{} holds another run: {difference}; remove it or choose another",
                    path.display()
                );
                return Err(Error::config("out", reason));
            }
            Err(Error::Missing { .. }) => fsx::write_atomic(&spec_path, spec.as_bytes())?,
            Err(error) => return Err(error),
        }
        let folder = Self { path: path.into(), _lock: Some(lock) };
        folder.sweep()?;
        Ok(folder)
    }

    /// The folder of a run that another process writes.
    pub(super) fn of_another(path: &Path) -> Self {
        Self { path: path.into(), _lock: None }
    }

    /// Removes what an earlier run left in `path`, of any spec, and nothing else.
    pub(crate) fn clear(path: &Path) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        let _lock = fsx::Lock::take(path)?;
        for path in WRITTEN.map(|name| path.join(name)) {
            let removed =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(path, "remove")(e));
                }
                _ => (),
            }
        }
        Ok(())
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Path of `metrics.jsonl`.
    pub(crate) fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The records so far.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
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
        self.checkpoints().join(format!("{training}-seed{seed}-state"))
    }

    /// Where the state of an attack lies while it is not done.
    pub(crate) fn attack_state(&self) -> PathBuf {
        self.path.join("attack-state")
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Removes what a killed process left of files and checkpoints that it was writing: here, one
    /// folder below, and among the checkpoints two.
    fn sweep(&self) -> Result<()> {
        for name in ["", "attack-state", "checkpoints", "outcomes", "pictures"] {
            sweep(&self.path.join(name))?;
        }
        subfolders(&self.checkpoints()).iter().try_for_each(|folder| sweep(folder))
    }
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
