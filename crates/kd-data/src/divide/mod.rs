//! One folder of classes becomes two or three: images to learn from, to choose by, to judge by.
//!
//! Key decision: files of equal content stay on one side, or what was learnt by heart would be judged
//! as known; of each class the shares are the same; and all is written down before the first file is
//! placed, so that what was interrupted is gone on with, and what was done can be taken back.
//!
//! What it deliberately does not do: pictures that look alike but differ in a byte, such as frames of
//! one video, are not found; put such files into one class folder of a name that says so, and divide
//! by hand.

mod assign;
mod journal;
mod side;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use kd_core::{Error, Result, Stream, fsx};
use rayon::prelude::*;
use serde::Serialize;

use self::assign::assign;
use self::journal::{File, JOURNAL, Journal};
pub use self::side::Side;
pub use self::undo::{TakenBack, undo};
use crate::imagenet::disk::{Disk, Mover, Step, outcome};
use crate::imagenet::root::{absolute, locked};
use crate::imagenet::{Mode, Watch};
use crate::listing::{Listing, MAX_IMAGE, Places, existing};

/// What is to be divided, and how.
#[derive(Debug, Clone)]
pub struct Divide {
    /// The folder with a folder for each class.
    pub images: PathBuf,
    /// The folder in which `train`, `val` and `test` are made.
    pub out: PathBuf,
    /// Share of each class that goes to `val`.
    pub val: f64,
    /// Share of each class that goes to `test`.
    pub test: Option<f64>,
    /// Which images.
    pub seed: u64,
    /// How they get there; not [`Mode::Extract`].
    pub mode: Mode,
}

/// How a folder was divided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Divided {
    /// Number of classes.
    pub classes: usize,
    /// Images on each side.
    pub train: usize,
    /// As above.
    pub val: usize,
    /// As above.
    pub test: usize,
    /// Files that have the content of another one, beside which they were put.
    pub duplicates: usize,
    /// Files of equal content in different classes, by two of their names: one label is wrong.
    pub contradictions: Vec<(String, String)>,
    /// What else a user should know of the folder, a line each.
    pub remarks: Vec<String>,
    /// Files that were placed by this call.
    pub placed: usize,
}

impl Divide {
    /// Divides the folder, or goes on with it where it was interrupted; nothing is overwritten. No result
    /// when the watch stopped it.
    ///
    /// # Errors
    /// Before anything is changed: [`Error::Config`] for shares that cannot be; [`Error::Missing`];
    /// [`Error::Parse`] for a folder without classes; [`Error::Folder`] for one that has parts
    /// already, or where something else is in the way; [`Error::Busy`]. Later [`Error::Io`].
    pub fn run(&self, watch: Watch<'_>) -> Result<Option<Divided>> {
        let (mut divided, plan) = self.plan(watch)?;
        watch.n_done.store(0, Ordering::Relaxed);
        locked(&self.out, |out| {
            plan.check_place(out)?;
            let before = plan.files.iter().filter(|file| file.is_placed(out)).count();
            divided.placed = plan.files.len() - before;
            outcome(execute(&plan, out, Disk(watch)), || divided)
        })
    }

    /// What would be done; all files are read, nothing is changed.
    ///
    /// # Errors
    /// As [`Divide::run`].
    pub fn dry_run(&self, watch: Watch<'_>) -> Result<Divided> {
        let (divided, plan) = self.plan(watch)?;
        if self.out.is_dir() {
            plan.check_place(&absolute(&self.out)?)?;
        }
        Ok(divided)
    }

    fn check_shares(&self) -> Result<()> {
        let shares = [("val", Some(self.val)), ("test", self.test)];
        for (field, share) in shares.into_iter().filter_map(|(f, share)| Some((f, share?))) {
            if !(share > 0.0 && share < 1.0) {
                let reason = format!("{share} is no share: above 0 and below 1");
                return Err(Error::config(field, reason));
            }
        }
        let sum = self.val + self.test.unwrap_or(0.0);
        if sum >= 1.0 {
            let reason =
                format!("with `test` {sum} of the images, so that none is left to learn from");
            return Err(Error::config("val", reason));
        }
        Ok(())
    }

    fn check_out(&self) -> Result<()> {
        let (images, out) = (absolute(&self.images)?, absolute(&self.out)?);
        if out.starts_with(&images) {
            let reason = "lies in the folder that is divided, where it would be a class; choose \
                          another --out"
                .into();
            return Err(Error::Folder { path: out, reason });
        }
        Ok(())
    }

    /// What goes where; reads all files, unless they are being moved and were read before.
    fn plan(&self, watch: Watch<'_>) -> Result<(Divided, Journal)> {
        self.check_shares()?;
        self.check_out()?;
        if let (Mode::Move, Some(begun)) = (self.mode, Journal::read(&self.out)?)
            && begun == self.journal(absolute(&self.images)?, begun.files.clone())
        {
            return Ok((Divided::of(&begun, Vec::new()), begun));
        }
        existing(self.images.clone(), "it should be a folder with class folders")?;
        if !Places::val_first(&self.images, |_| false).are_none() {
            let reason = "has `train`, `val` or `test` already".into();
            return Err(Error::Folder { path: self.images.clone(), reason });
        }
        let listing = Listing::names(&absolute(&self.images)?)?;
        listing.require_pictures()?;
        if !listing.in_classes {
            let reason = "has its classes in a list, not in folders".into();
            return Err(Error::Folder { path: listing.folder, reason });
        }
        let digests = digests(&listing, watch)?;
        let shares = [self.val, self.test.unwrap_or(0.0)];
        let stream = Stream::new(self.seed).at("divide");
        let classes = (&listing.classes[..], &listing.labels[..]);
        let sides = assign(classes, &digests, shares, stream);
        let files = (0..digests.len()).zip(digests).zip(sides);
        let files = files.map(|((i, sha256), side)| File { name: listing.name(i), side, sha256 });
        let journal = self.journal(listing.folder.clone(), files.collect());
        Ok((Divided::of(&journal, listing.remarks()), journal))
    }

    fn journal(&self, images: PathBuf, files: Vec<File>) -> Journal {
        let (mode, seed, val, test) = (self.mode, self.seed, self.val, self.test);
        Journal { images, mode, seed, val, test, files }
    }
}

/// SHA-256 of every file.
fn digests(listing: &Listing, watch: Watch<'_>) -> Result<Vec<String>> {
    let digest = |i: usize| {
        let digest = fsx::sha256(&listing.bytes(i, MAX_IMAGE)?);
        watch.n_done.fetch_add(1, Ordering::Relaxed);
        Ok(digest)
    };
    let digests: Vec<Result<String>> =
        (0..listing.files.len()).into_par_iter().map(digest).collect();
    digests.into_iter().collect()
}

impl Divided {
    /// What a user should know of the folder, a line each.
    pub fn notes(&self) -> Vec<String> {
        /// How many files with contradicting labels are named.
        const N_NAMED: usize = 5;
        let mut notes = self.remarks.clone();
        if self.duplicates > 0 {
            let n = self.duplicates;
            notes.push(format!("{n} files have the content of another one, and lie on its side"));
        }
        notes.extend(self.contradictions.iter().take(N_NAMED).map(|(one, other)| {
            format!("{one} and {other} have the same content, but are of different classes")
        }));
        if let Some(more @ 1..) = self.contradictions.len().checked_sub(N_NAMED) {
            notes.push(format!("and {more} more such files"));
        }
        notes
    }

    fn of(journal: &Journal, remarks: Vec<String>) -> Self {
        let files = &journal.files;
        let count = |side: Side| files.iter().filter(|file| file.side == side).count();
        let classes: BTreeSet<&str> = files.iter().map(File::class).collect();
        let mut seen: BTreeMap<&str, &File> = BTreeMap::new();
        let (mut duplicates, mut contradictions) = (0, Vec::new());
        for file in files {
            let Some(first) = seen.get(&*file.sha256) else {
                seen.insert(&file.sha256, file);
                continue;
            };
            duplicates += 1;
            if first.class() != file.class() {
                contradictions.push((first.name.clone(), file.name.clone()));
            }
        }
        let [train, val, test] = Side::ALL.map(count);
        let (classes, placed) = (classes.len(), 0);
        Self { classes, train, val, test, duplicates, contradictions, remarks, placed }
    }
}

impl Journal {
    /// Refuses a folder in which something else is in the way.
    fn check_place(&self, out: &Path) -> Result<()> {
        match Journal::read(out)? {
            Some(other) if other == *self => Ok(()),
            Some(_) => {
                let reason =
                    "holds images that were divided in another way, or that changed since; \
                              --undo takes them back"
                        .into();
                Err(Error::Folder { path: out.into(), reason })
            }
            None => {
                let there = Side::ALL.map(|side| out.join(side.name()));
                match there.into_iter().find(|path| path.exists() || path.is_symlink()) {
                    Some(path) => {
                        let reason =
                            "is there already, and nothing is overwritten; choose another \
                                      --out"
                                .into();
                        Err(Error::Folder { path, reason })
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

/// Writes the journal, then places what is not in its place.
fn execute(plan: &Journal, out: &Path, disk: Disk<'_>) -> Step {
    if !out.join(JOURNAL).is_file() {
        disk.change(out, "write", || Ok(()))?;
        plan.write(out)?;
    }
    let mut mover = Mover::new(disk);
    for file in &plan.files {
        if !file.is_placed(out) {
            let (from, to) = (plan.images.join(&file.name), file.place(out));
            disk.create_folder(to.parent().unwrap_or(out))?;
            place(plan.mode, (&from, &to), disk, &mut mover)?;
        }
        disk.count(1);
    }
    mover.settle()?;
    Ok(fsx::sync_folder(out)?)
}

fn place(mode: Mode, (from, to): (&Path, &Path), disk: Disk<'_>, mover: &mut Mover<'_>) -> Step {
    match mode {
        Mode::Move => mover.relocate(from, to),
        Mode::Symlink => disk.symlink(from, to),
        Mode::Copy | Mode::Extract => disk.copy(from, to),
        Mode::Hardlink => match disk.hard_link(from, to) {
            Err(halt) if halt.crosses() => {
                let reason =
                    "is on another file system than the images, so that one file cannot have \
                              names in both; --mode copy or symlink"
                        .into();
                Err(Error::Folder { path: to.into(), reason }.into())
            }
            linked => linked,
        },
    }
}

#[cfg(test)]
mod tests;
