//! Takes the division back.
//!
//! Key decision: what has no other name or copy left is moved back, whatever the mode was, and what
//! was changed since stays and is named, so that undoing never removes the last one of an image.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};
use serde::Serialize;

use super::journal::{File, JOURNAL, Journal};
use super::side::Side;
use crate::finding::{Fault, Finding, refuse};
use crate::imagenet::disk::{Disk, Mover, Step, TEMPORARY, outcome};
use crate::imagenet::root::locked;
use crate::imagenet::{Mode, Watch};
use crate::listing::MAX_IMAGE;

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenBack {
    /// Links and copies that went.
    pub removed: usize,
    /// Images that were moved back to where they came from.
    pub restored: usize,
    /// Folders that stay, because something else lies in them.
    pub left: Vec<PathBuf>,
}

impl fmt::Display for TakenBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} removed, {} moved back", self.removed, self.restored)
    }
}

/// Takes back what [`super::Divide::run`] made in `out`, or the part of it that was made. Nothing when
/// the watch stopped it; the same call goes on.
///
/// # Errors
/// Before anything is changed: [`Error::Missing`] where nothing was divided; [`Error::Folder`] for
/// images that were changed since; [`Error::Parse`] for a damaged journal; [`Error::Busy`]. Later
/// [`Error::Io`]; the same call goes on then.
pub fn undo(out: &Path, watch: Watch<'_>) -> Result<Option<TakenBack>> {
    if !out.join(JOURNAL).is_file() {
        let hint = "--out names the folder in which `kd data split` made `train` and `val`".into();
        return Err(Error::Missing { path: out.join(JOURNAL), hint });
    }
    locked(out, |out| {
        let Some(journal) = Journal::read(out)? else {
            let hint = "it was there a moment ago".into();
            return Err(Error::Missing { path: out.join(JOURNAL), hint });
        };
        let (remove, restore) = decide(&journal, out)?;
        let (removed, restored) = (remove.len(), restore.len());
        let mut left = Vec::new();
        let ended = execute(&journal, (out, &remove, &restore), Disk(watch), &mut left);
        outcome(ended, || TakenBack { removed, restored, left })
    })
}

/// The files that go, and those that are moved back.
fn decide<'j>(journal: &'j Journal, out: &Path) -> Result<(Vec<&'j File>, Vec<&'j File>)> {
    let (mut remove, mut restore, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for file in journal.files.iter().filter(|file| file.is_placed(out)) {
        match fate(journal, file, out) {
            Ok(true) => restore.push(file),
            Ok(false) => remove.push(file),
            Err(reason) => {
                let name = format!("{}/{}", file.side.name(), file.name);
                found.push(Finding::new(Fault::Extra, name, reason));
            }
        }
    }
    refuse(out, &found, "move these away and call it again; nothing was changed")?;
    Ok((remove, restore))
}

/// Whether an image is moved back; otherwise it is removed, or why it cannot be.
fn fate(journal: &Journal, file: &File, out: &Path) -> std::result::Result<bool, &'static str> {
    let (from, to) = (journal.images.join(&file.name), file.place(out));
    if to.is_symlink() {
        let is_ours = fs::read_link(&to).is_ok_and(|target| target == from);
        return if is_ours { Ok(false) } else { Err("is a link that was not made here") };
    }
    if journal.mode == Mode::Symlink {
        return Err("is no link any more");
    }
    if from.symlink_metadata().is_err() {
        return Ok(true);
    }
    let has_digest = |path: &Path| {
        let bytes = fsx::read_bounded(path, MAX_IMAGE, "");
        bytes.is_ok_and(|bytes| fsx::sha256(&bytes) == file.sha256)
    };
    // Of a file that was changed under both names, the other name stays.
    match journal.is_linked(file, out) || has_digest(&from) && has_digest(&to) {
        true => Ok(false),
        false => Err("it or its original was changed since"),
    }
}

fn execute(
    journal: &Journal,
    (out, remove, restore): (&Path, &[&File], &[&File]),
    disk: Disk<'_>,
    left: &mut Vec<PathBuf>,
) -> Step {
    let mut mover = Mover::new(disk);
    for file in restore {
        let from = journal.images.join(&file.name);
        disk.create_folder(from.parent().unwrap_or(&journal.images))?;
        mover.relocate(&file.place(out), &from)?;
        disk.count(1);
    }
    mover.settle()?;
    for file in remove {
        disk.remove_file(&file.place(out))?;
        disk.count(1);
    }
    clear(journal, out, disk, left)?;
    disk.remove_file(&out.join(JOURNAL))?;
    Ok(fsx::sync_folder(out)?)
}

/// Removes the folders that are empty now, those within others first.
fn clear(journal: &Journal, out: &Path, disk: Disk<'_>, left: &mut Vec<PathBuf>) -> Step {
    let roots = Side::ALL.map(|side| out.join(side.name()));
    let mut folders: BTreeSet<PathBuf> = roots.iter().cloned().collect();
    for file in &journal.files {
        let place = file.place(out);
        let above = place.ancestors().skip(1).take_while(|path| !roots.iter().any(|r| r == path));
        folders.extend(above.map(Path::to_owned));
    }
    for folder in folders.into_iter().rev().filter(|folder| folder.is_dir()) {
        let begun = folder.join(TEMPORARY);
        if begun.is_file() {
            disk.remove_file(&begun)?;
        }
        let is_empty = fs::read_dir(&folder).is_ok_and(|mut all| all.next().is_none());
        if is_empty {
            disk.remove_folder(&folder)?;
        } else if roots.contains(&folder) {
            left.push(folder);
        }
    }
    Ok(())
}
