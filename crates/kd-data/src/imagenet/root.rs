//! The folder that is worked in, and how far the work in it is.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};

use super::flat::entries;
use super::journal::Journal;
use super::tree::Tree;
use crate::finding::refuse;

/// `ROOT/val`, and `ROOT/val.partial` while it is made.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    pub(super) val: PathBuf,
    pub(super) partial: PathBuf,
}

/// How far the work is.
#[derive(Debug)]
pub(super) enum State {
    Nothing,
    /// In `val.partial`.
    Begun(Journal),
    Finished,
    /// There is a `val` that we did not make.
    Foreign,
}

impl Root {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), val: path.join("val"), partial: path.join("val.partial") }
    }

    /// Looks how far the work is whose images come from `images`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] for a damaged journal; [`Error::Folder`] for a
    /// `val.partial` that is not ours.
    pub(super) fn state(&self, images: &Path) -> Result<State> {
        if Journal::read(&self.val)?.is_some() {
            return Ok(State::Finished);
        }
        // The flat folder may lie where the result goes, as it does for `valprep.sh`.
        if self.val != images && (self.val.is_symlink() || !is_empty(&self.val)?) {
            return Ok(State::Foreign);
        }
        if let Some(journal) = Journal::read(&self.partial)? {
            return Ok(State::Begun(journal));
        }
        if !is_empty(&self.partial)? {
            let reason = "was not made by kd; move it away".into();
            return Err(Error::Folder { path: self.partial.clone(), reason });
        }
        Ok(State::Nothing)
    }

    /// Checks the finished `val`.
    ///
    /// # Errors
    /// [`Error::Folder`], which names what is wrong.
    pub(super) fn check_val(&self, wnids: &super::Wnids) -> Result<()> {
        let tree = Tree::read(&self.val)?;
        let findings = [tree.faults(wnids), tree.missing(wnids)].concat();
        let advice = "--verify lists all; nothing was changed, move it away to begin anew";
        refuse(&self.val, &findings, advice)
    }
}

/// Whether a folder holds nothing, or nothing but a journal that was never finished; also when
/// there is no folder.
fn is_empty(folder: &Path) -> Result<bool> {
    if !folder.exists() {
        return Ok(true);
    }
    let unfinished = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".tmp");
    Ok(entries(folder)?.iter().all(|entry| unfinished(&entry.file_name())))
}

/// Calls `work` with the folder at `path`, absolute and locked; it is created if needed, and
/// goes again if nothing came into it.
///
/// # Errors
/// Those of `work`; [`Error::Busy`] when another process works there; [`Error::Io`].
pub(crate) fn locked<T>(path: &Path, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let path = &std::path::absolute(path).map_err(Error::io(path, "create"))?;
    let created: Vec<_> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    fsx::create_folder(path)?;
    let lock = fsx::Lock::take(path)?;
    let result = absolute(path).and_then(|path| work(&path));
    let unlocked = lock.remove();
    for folder in created {
        // Those that hold something stay.
        let _ = fs::remove_dir(folder);
    }
    let result = result?;
    unlocked.map(|()| result)
}

/// `path` without links; where it does not exist, just absolute.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    let real = fs::canonicalize(path).or_else(|error| match error.kind() {
        ErrorKind::NotFound => std::path::absolute(path),
        _ => Err(error),
    });
    real.map_err(Error::io(path, "read"))
}
