//! Takes the reorganization back.
//!
//! Key decision: what has no other name or copy left is moved back, whatever the mode was, so
//! that undoing never removes the last one of an image.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kd_core::{Error, Result, fsx};
use serde::Serialize;

use super::Wnids;
use super::disk::{Disk, Mover, Step, Watch, outcome, same_bytes};
use super::journal::{JOURNAL, Journal};
use super::labels::val_name;
use super::mode::Mode;
use super::root::{Root, locked};
use super::tree::{Tree, relative};
use crate::finding::{Fault, Finding, refuse};

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// How the folder had been made; nothing where there was none.
    pub mode: Option<Mode>,
    /// Images that lie in no class folder any more.
    pub changed: usize,
    /// Those of them that were moved back to the flat folder.
    pub restored: usize,
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, changed, restored } = self;
        match mode {
            Some(mode) => write!(f, "val: {changed} images taken back ({mode}), {restored} moved"),
            None => f.write_str("val: 0 images taken back: kd made none"),
        }
    }
}

/// Takes back `root/val`, or the part of it that was made, by the journal in it: links and copies
/// go, and images of which there is no other are moved back to where they came from. Nothing when the
/// watch stopped it; the same call goes on.
///
/// # Errors
/// Before anything is changed: [`Error::Folder`] where something is in the way, is not ours, or
/// would be lost; [`Error::Parse`] for a damaged journal; [`Error::Busy`]; [`Error::Missing`].
/// Later [`Error::Io`]; no image is lost then, and the same call goes on.
pub fn undo(root: &Path, watch: Watch<'_>) -> Result<Option<Undone>> {
    if !root.is_dir() {
        let hint = "--out names the folder in which val was made".into();
        return Err(Error::Missing { path: root.into(), hint });
    }
    locked(root, |path| {
        let root = Root::new(path);
        let Some(plan) = Plan::make(&root)? else {
            return outcome(remove_empty(&root, Disk(watch)), || Undone {
                mode: None,
                changed: 0,
                restored: 0,
            });
        };
        outcome(plan.execute(Disk(watch)), || plan.summary())
    })
}

/// What a killed undo may have left at its very end.
fn remove_empty(root: &Root, disk: Disk<'_>) -> Step {
    let is_empty = |folder: &Path| fs::read_dir(folder).is_ok_and(|mut all| all.next().is_none());
    if is_empty(&root.partial) { disk.remove_folder(&root.partial) } else { Ok(()) }
}

#[derive(Debug)]
struct Plan<'a> {
    root: &'a Root,
    journal: Journal,
    wnids: Wnids,
    tree: Tree,
    /// Whether the work had been finished.
    is_finished: bool,
    remove: Vec<u32>,
    restore: Vec<u32>,
}

/// What becomes of an image.
enum Fate {
    Remove,
    Restore,
    /// Nothing can be done; why.
    Refuse(&'static str),
}

impl<'a> Plan<'a> {
    /// Nothing where there is no journal.
    fn make(root: &'a Root) -> Result<Option<Self>> {
        let (folder, journal) = match (Journal::read(&root.partial)?, Journal::read(&root.val)?) {
            (Some(journal), _) => (&root.partial, journal),
            (None, Some(journal)) => (&root.val, journal),
            (None, None) => return Ok(None),
        };
        if folder.is_symlink() {
            let reason = "is a symbolic link; give the folder that it leads to".into();
            return Err(Error::Folder { path: folder.clone(), reason });
        }
        let (wnids, tree) = (journal.wnids(folder)?, Tree::read(folder)?);
        let is_finished = *folder == root.val;
        let (remove, restore) = (Vec::new(), Vec::new());
        let mut plan = Self { root, journal, wnids, tree, is_finished, remove, restore };
        plan.decide(folder)?;
        Ok(Some(plan))
    }

    fn decide(&mut self, folder: &Path) -> Result<()> {
        let mut found = self.tree.faults(&self.wnids);
        let hidden = self.tree.hidden.iter();
        found.extend(
            hidden.map(|name| Finding::new(Fault::Extra, name, "is none of the images; remove it")),
        );
        let archive_is_there = self.archive_is_there();
        for (&number, &wnid) in &self.wnids {
            let Some(at) = self.tree.path(number) else { continue };
            match self.fate(number, &at, archive_is_there)? {
                Fate::Remove => self.remove.push(number),
                Fate::Restore => self.restore.push(number),
                Fate::Refuse(reason) => {
                    found.push(Finding::new(Fault::Extra, relative(wnid, number), reason));
                }
            }
        }
        refuse(folder, &found, "nothing was changed")
    }

    fn archive_is_there(&self) -> bool {
        let bytes = fs::metadata(&self.journal.images).ok().filter(Metadata::is_file);
        bytes.map(|metadata| metadata.len()) == self.journal.archive_bytes
    }

    fn fate(&self, number: u32, at: &Path, archive_is_there: bool) -> Result<Fate> {
        let placed = fs::symlink_metadata(at).map_err(Error::io(at, "read"))?;
        let path = self.journal.images.join(val_name(number));
        let original = match fs::symlink_metadata(&path) {
            // Its flat folder comes back when the result has left its place.
            _ if self.is_finished && self.journal.images == self.root.val => None,
            Err(error)
                if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) =>
            {
                None
            }
            other => Some(other.map_err(Error::io(&path, "read"))?),
        };
        if placed.is_symlink() != (self.journal.mode == Mode::Symlink) {
            return Ok(Fate::Refuse("was not made by kd"));
        }
        Ok(match (self.journal.mode, original) {
            (Mode::Extract, _) if archive_is_there => Fate::Remove,
            (Mode::Extract, _) => Fate::Refuse("the archive it came from is not there any more"),
            (Mode::Symlink, _) => Fate::Remove,
            (_, None) => Fate::Restore,
            (_, Some(original)) if is_same(&original, &placed) => Fate::Remove,
            (Mode::Move | Mode::Copy, Some(_)) if same_bytes(&path, at)? => Fate::Remove,
            (_, Some(_)) => Fate::Refuse("another file has its name in the flat folder"),
        })
    }

    fn execute(&self, disk: Disk<'_>) -> Step {
        let Root { path, val, partial } = self.root;
        if self.is_finished {
            disk.rename(val, partial)?;
            fsx::sync_folder(path)?;
        }
        let placed = |&number: &u32| super::tree::path(partial, self.wnids[&number], number);
        if !self.restore.is_empty() || self.journal.images == *val {
            disk.create_folder(&self.journal.images)?;
        }
        let mut mover = Mover::new(disk);
        for number in &self.restore {
            let original = self.journal.images.join(val_name(*number));
            mover.relocate(&placed(number), &original)?;
            disk.count(1);
        }
        mover.settle()?;
        for number in &self.remove {
            disk.remove_file(&placed(number))?;
            disk.count(1);
        }
        self.clear(disk)?;
        Ok(fsx::sync_folder(path)?)
    }

    /// Removes the folders and, last of what is in them, the journal.
    fn clear(&self, disk: Disk<'_>) -> Step {
        let partial = &self.root.partial;
        for path in &self.tree.leftovers {
            let relative = path.strip_prefix(&self.tree.folder).unwrap_or(path);
            disk.remove_file(&partial.join(relative))?;
        }
        let classes: BTreeSet<_> = self.wnids.values().map(|wnid| wnid.to_string()).collect();
        let classes = classes.into_iter().map(|class| partial.join(class));
        classes.filter(|class| class.is_dir()).try_for_each(|class| disk.remove_folder(&class))?;
        disk.remove_file(&partial.join(JOURNAL))?;
        disk.remove_folder(partial)
    }

    fn summary(&self) -> Undone {
        Undone {
            mode: Some(self.journal.mode),
            changed: self.remove.len() + self.restore.len(),
            restored: self.restore.len(),
        }
    }
}

/// Whether two names are of one file.
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
