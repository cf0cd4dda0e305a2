//! The changes to the disk: one at a time, and each may be the last one.
//!
//! Key decision: before each change the caller is asked whether to go on. So a signal stops the
//! work between two changes, and a test can stop it before every single one, which leaves what
//! a killed process leaves.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kd_core::{Error, Result, fsx};
use serde::Serialize;

use super::journal;

/// Name of a file while it is being written; it then gets its own.
pub(crate) const TEMPORARY: &str = ".kd-temporary";
/// How many copies may stand beside their originals before the originals go.
const N_COPIES: usize = 64;

/// How a long work is watched and stopped.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Asked before each change to the disk; `false` stops the work, which can be gone on with.
    pub go_on: &'a dyn Fn() -> bool,
    /// Images that are where they belong.
    pub n_done: &'a AtomicU64,
}

impl Watch<'_> {
    /// Does `work` until `stop` is set, and counts in `n_done`.
    pub fn until<T>(stop: &AtomicBool, n_done: &AtomicU64, work: impl FnOnce(Watch<'_>) -> T) -> T {
        let go_on = || !stop.load(Ordering::Relaxed);
        work(Watch { go_on: &go_on, n_done })
    }
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("n_done", self.n_done).finish_non_exhaustive()
    }
}

/// Why a work ended before its end.
#[derive(Debug)]
pub(crate) enum Halt {
    Stopped,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Halt {
    /// Whether two places are on different file systems.
    pub(crate) fn crosses(&self) -> bool {
        let Self::Failed(Error::Io { source, .. }) = self else { return false };
        source.kind() == ErrorKind::CrossesDevices
    }
}

/// Result of a part of a work.
pub(crate) type Step = std::result::Result<(), Halt>;

/// The result of a work that ended so; nothing when the watch stopped it.
pub(crate) fn outcome<T>(ended: Step, result: impl FnOnce() -> T) -> Result<Option<T>> {
    match ended {
        Ok(()) => Ok(Some(result())),
        Err(Halt::Stopped) => Ok(None),
        Err(Halt::Failed(error)) => Err(error),
    }
}

/// Changes the disk as long as the watch lets it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disk<'a>(pub(crate) Watch<'a>);

impl Disk<'_> {
    pub(crate) fn change(
        &self,
        path: &Path,
        action: &'static str,
        f: impl FnOnce() -> io::Result<()>,
    ) -> Step {
        if !(self.0.go_on)() {
            return Err(Halt::Stopped);
        }
        Ok(f().map_err(Error::io(path, action))?)
    }

    /// Counts images that are where they belong.
    pub(crate) fn count(&self, n: usize) {
        self.0.n_done.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// Nothing happens where it exists.
    pub(crate) fn create_folder(&self, path: &Path) -> Step {
        if path.is_dir() {
            return Ok(());
        }
        self.change(path, "create", || fs::create_dir_all(path))
    }

    pub(crate) fn write_journal(&self, journal: &impl Serialize, folder: &Path) -> Step {
        self.change(folder, "write", || Ok(()))?;
        Ok(journal::write(journal, folder)?)
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Step {
        self.change(from, "rename", || fs::rename(from, to))
    }

    pub(crate) fn hard_link(&self, from: &Path, to: &Path) -> Step {
        self.change(to, "create", || fs::hard_link(from, to))
    }

    pub(crate) fn symlink(&self, target: &Path, to: &Path) -> Step {
        self.change(to, "create", || std::os::unix::fs::symlink(target, to))
    }

    pub(crate) fn remove_file(&self, path: &Path) -> Step {
        self.change(path, "remove", || fs::remove_file(path))
    }

    pub(crate) fn remove_folder(&self, path: &Path) -> Step {
        self.change(path, "remove", || fs::remove_dir(path))
    }

    /// A folder and what is in it.
    pub(crate) fn remove_all(&self, path: &Path) -> Step {
        self.change(path, "remove", || fs::remove_dir_all(path))
    }

    /// Writes `size` bytes to a temporary sibling of `to`, which then gets its name.
    pub(crate) fn write(&self, from: io::Take<&File>, to: &Path) -> Step {
        let temporary = to.with_file_name(TEMPORARY);
        self.change(to, "write", || write_all(from, &temporary))?;
        self.rename(&temporary, to)
    }

    /// Copies a file under a temporary name, which then becomes `to`.
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> Step {
        let file = File::open(from).map_err(Error::io(from, "open"))?;
        let size = file.metadata().map_err(Error::io(from, "read"))?.len();
        self.write((&file).take(size), to)
    }

    /// Brings all that was written to the file system of `folder` to the disk itself.
    pub(crate) fn sync(&self, folder: &Path) -> Step {
        self.change(folder, "sync", || sync(folder))?;
        Ok(fsx::sync_folder(folder)?)
    }
}

/// Nothing less than all counts.
fn write_all(mut from: io::Take<&File>, to: &Path) -> io::Result<()> {
    let size = from.limit();
    let mut file = File::create(to)?;
    let n = io::copy(&mut from, &mut file)?;
    if n != size {
        let reason = format!("{n} of {size} bytes came; the source changed meanwhile");
        return Err(io::Error::new(ErrorKind::UnexpectedEof, reason));
    }
    Ok(())
}

/// One file system where the system can do that, else all.
fn sync(folder: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::fs::syncfs(File::open(folder)?)?);
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::sync();
        File::open(folder).map(drop)
    }
}

/// Moves files, also to another file system: there they are copied, and the originals go only
/// when the copies are safe on the disk.
#[derive(Debug)]
pub(crate) struct Mover<'a> {
    disk: Disk<'a>,
    /// Originals that were copied.
    copied: Vec<PathBuf>,
    /// The folder of the last copy.
    folder: PathBuf,
}

impl<'a> Mover<'a> {
    pub(crate) fn new(disk: Disk<'a>) -> Self {
        Self { disk, copied: Vec::new(), folder: PathBuf::new() }
    }

    /// Moves a file; the original may still be there until [`Self::settle`].
    pub(crate) fn relocate(&mut self, from: &Path, to: &Path) -> Step {
        match self.disk.rename(from, to) {
            Err(halt) if halt.crosses() => {}
            other => return other,
        }
        self.disk.copy(from, to)?;
        self.copied.push(from.into());
        self.folder = to.parent().unwrap_or(to).into();
        if self.copied.len() == N_COPIES { self.settle() } else { Ok(()) }
    }

    /// Removes the originals of what was copied.
    pub(crate) fn settle(&mut self) -> Step {
        if self.copied.is_empty() {
            return Ok(());
        }
        self.disk.sync(&self.folder)?;
        self.copied.drain(..).try_for_each(|original| self.disk.remove_file(&original))
    }
}

/// Whether two files have the same bytes.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn same_bytes(a: &Path, b: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).map_err(Error::io(path, "open"));
    let (mut one, mut two) = (open(a)?, open(b)?);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    loop {
        first.clear();
        second.clear();
        (&mut one).take(1 << 16).read_to_end(&mut first).map_err(Error::io(a, "read"))?;
        (&mut two).take(1 << 16).read_to_end(&mut second).map_err(Error::io(b, "read"))?;
        if first != second || first.is_empty() {
            return Ok(first == second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_compared_to_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let long = vec![3; (1 << 16) + 5];
        let mut other = long.clone();
        other[1 << 16] = 4;
        let (a, b, c) = (at("a", &long), at("b", &long), at("c", &other));
        let short = at("d", &long[..1 << 16]);
        assert!(same_bytes(&a, &b).unwrap());
        assert!(!same_bytes(&a, &c).unwrap() && !same_bytes(&a, &short).unwrap());
    }

    #[test]
    fn a_source_that_shrinks_is_noticed_and_leaves_no_file_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "12345").unwrap();
        let n_done = AtomicU64::new(0);
        let disk = Disk(Watch { go_on: &|| true, n_done: &n_done });
        let file = File::open(&from).unwrap();
        let halt = disk.write((&file).take(6), &to).unwrap_err();
        assert!(matches!(halt, Halt::Failed(Error::Io { .. })), "{halt:?}");
        assert!(!to.exists());
        disk.copy(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"12345");
    }
}
