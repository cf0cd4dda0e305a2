//! Sorts the validation images into class folders.
//!
//! Key decision: all that can be wrong is found before anything is changed; then every change
//! keeps all images, in the source or in `val.partial`, and the last change gives that folder its
//! name. Run again after a kill, the work goes on with what is there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};
use serde::Serialize;

use super::disk::{Disk, Halt, Mover, Step, Watch, outcome, same_bytes};
use super::journal::Journal;
use super::labels::{ValLabels, Wnid, val_name};
use super::mode::Mode;
use super::root::{self, Root, State, locked};
use super::source::Source;
use super::tree::{self, Tree};
use super::{Wnids, space};
use crate::finding::{Fault, Finding, refuse};

/// What is to be done: `ROOT/val/WNID/ILSVRC2012_val_XXXXXXXX.JPEG` from unsorted images.
#[derive(Debug)]
pub struct Organize {
    /// Which class each image has.
    pub labels: ValLabels,
    /// The flat folder, or the archive for [`Mode::Extract`].
    pub images: PathBuf,
    /// The folder in which `val` is made.
    pub root: PathBuf,
    /// How.
    pub mode: Mode,
}

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Organized {
    /// Images of the finished folder.
    pub images: usize,
    /// Classes of the finished folder.
    pub classes: usize,
    /// Images that were not yet where they belong.
    pub changed: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// How they came there; of a folder that was finished before, how it was made, if known.
    pub mode: Option<Mode>,
    /// Names in the flat folder that begin with a dot; they were passed over.
    pub hidden: Vec<String>,
    /// What is wrong; empty but for [`Organize::dry_run`].
    pub faults: Vec<Finding>,
}

impl Organize {
    /// Does it, or goes on with it, or finds it done; nothing when the watch stopped it.
    ///
    /// # Errors
    /// Before anything is changed: [`Error::Folder`] for missing, extra, renamed, duplicate or
    /// corrupt images, or another `val`; [`Error::Parse`] for a damaged archive or journal;
    /// [`Error::Config`] for a mode that cannot be, or not the one it was begun with;
    /// [`Error::Missing`]; [`Error::Busy`]; [`Error::Io`], also for want of space.
    /// Later [`Error::Io`] only; no image is lost then, and the same call goes on.
    pub fn run(&self, watch: Watch<'_>) -> Result<Option<Organized>> {
        locked(&self.root, |path| {
            let root = Root::new(path);
            let Some(survey) = self.survey(&root)? else {
                return self.finished(&root).map(Some);
            };
            let images = &survey.journal.images;
            refuse(images, &survey.plan.faults, "nothing was changed")?;
            outcome(survey.execute(Disk(watch)), || survey.summary())
        })
    }

    /// Finds out what [`Self::run`] would do or refuse; nothing is changed.
    ///
    /// # Errors
    /// As for [`Self::run`], but for the images' faults, which are returned.
    pub fn dry_run(&self) -> Result<Organized> {
        let root = Root::new(&root::absolute(&self.root)?);
        match self.survey(&root)? {
            Some(survey) => Ok(survey.summary()),
            None => self.finished(&root),
        }
    }

    /// What is there and what remains to be done; nothing when it is done.
    fn survey<'a>(&'a self, root: &'a Root) -> Result<Option<Survey<'a>>> {
        let images = root::absolute(&self.images)?;
        let state = root.state(&images)?;
        if matches!(state, State::Finished | State::Foreign) {
            return Ok(None);
        }
        self.check_place(root, &images)?;
        let source = Source::open(&images, self.mode, self.labels.wnids().len() as u32)?;
        let wnids = self.labels.wnids();
        let bytes = source.archive_bytes();
        let journal = Journal::new(self.mode, images, bytes, self.labels.source(), wnids);
        let tree = match root.partial.exists() {
            true => Tree::read(&root.partial)?,
            false => Tree::default(),
        };
        let is_begun = match state {
            State::Begun(begun) if begun.agrees(&journal) => true,
            State::Begun(begun) if !tree.images.is_empty() => return Err(other(&begun)),
            _ => false,
        };
        let plan = Plan::default();
        let mut survey = Survey { root, wnids, source, journal, tree, is_begun, plan };
        survey.make_plan()?;
        survey.check_devices()?;
        Ok(Some(survey))
    }

    /// Refuses images that lie where the result goes, but for the one mode that can be then.
    fn check_place(&self, root: &Root, images: &Path) -> Result<()> {
        if images.to_str().is_none() || root.path.to_str().is_none() {
            return Err(Error::config("images", "a path has a name that is not UTF-8"));
        }
        if *images == root.val && self.mode != Mode::Move {
            let reason = format!(
                "the images lie in {}, where the result goes: only move works there; or rename \
                 that folder first",
                images.display()
            );
            return Err(Error::config("mode", reason));
        }
        let inside = images.starts_with(&root.val) && *images != root.val;
        if inside || images.starts_with(&root.partial) {
            let reason = format!("{} lies within the result's folder", images.display());
            return Err(Error::config("images", reason));
        }
        Ok(())
    }

    /// The summary of what was done before, after a check.
    fn finished(&self, root: &Root) -> Result<Organized> {
        let wnids = self.labels.wnids();
        root.check_val(wnids)?;
        Ok(Organized {
            images: wnids.len(),
            classes: self.labels.classes().len(),
            changed: 0,
            bytes: 0,
            mode: Journal::read(&root.val)?.map(|journal| journal.mode),
            hidden: Vec::new(),
            faults: Vec::new(),
        })
    }
}

fn other(begun: &Journal) -> Error {
    let reason = format!(
        "val.partial was begun with --mode {} --images {} and {}; finish it with these, or take \
         it back with --undo",
        begun.mode,
        begun.images.display(),
        begun.labels
    );
    Error::config("mode", reason)
}

/// What remains to be done.
#[derive(Debug, Default)]
struct Plan {
    /// Images to put in place.
    place: Vec<u32>,
    /// Originals whose copies are in place.
    remove: Vec<PathBuf>,
    /// Bytes of the images to place.
    bytes: u64,
    faults: Vec<Finding>,
}

/// What is there and what remains to be done.
#[derive(Debug)]
struct Survey<'a> {
    root: &'a Root,
    wnids: &'a Wnids,
    source: Source,
    journal: Journal,
    tree: Tree,
    is_begun: bool,
    plan: Plan,
}

impl Survey<'_> {
    fn make_plan(&mut self) -> Result<()> {
        let mut plan = Plan::default();
        plan.faults.extend_from_slice(self.source.findings());
        plan.faults.extend(self.tree.faults(self.wnids));
        if self.journal.images == self.root.val {
            let hidden = self.source.hidden().iter();
            let reason = "is hidden, and in the way: this folder is replaced by the result";
            plan.faults.extend(hidden.map(|name| Finding::new(Fault::Extra, name, reason)));
        }
        for &number in self.wnids.keys() {
            self.plan_image(number, &mut plan)?;
        }
        plan.faults.extend(self.source.corrupt(&plan.place)?);
        plan.faults.sort_unstable();
        self.source.sort(&mut plan.place);
        self.plan = plan;
        Ok(())
    }

    fn plan_image(&self, number: u32, plan: &mut Plan) -> Result<()> {
        let placed = self.tree.path(number);
        let size = self.source.size(number);
        let Some(at) = placed else {
            match size {
                Some(size) => {
                    plan.place.push(number);
                    plan.bytes += size;
                }
                None if self.is_reported(number) => {}
                None => plan.faults.push(Finding::missing(val_name(number))),
            }
            return Ok(());
        };
        match self.relation(number, &at, size)? {
            Relation::InPlace => {}
            Relation::Copied(original) => plan.remove.push(original),
            Relation::Unfinished => {
                plan.place.push(number);
                plan.bytes += size.unwrap_or(0);
            }
            Relation::Different(detail) => {
                let file = val_name(number);
                plan.faults.push(Finding::new(Fault::Duplicate, file, detail));
            }
        }
        Ok(())
    }

    /// Whether the image's absence is named already, as another fault.
    fn is_reported(&self, number: u32) -> bool {
        self.tree.images.contains_key(&number) || self.source.is_renamed(number)
    }

    /// What the file `at` is, which has an image's place, to the source's one of `size` bytes.
    fn relation(&self, number: u32, at: &Path, size: Option<u64>) -> Result<Relation> {
        let read = |path: &Path| fs::symlink_metadata(path).map_err(Error::io(path, "read"));
        let placed = read(at)?;
        let original = self.source.path(number);
        let differs = || Relation::Different(format!("differs from {}", at.display()));
        Ok(match (self.journal.mode, original) {
            (Mode::Symlink, original) => {
                let target = fs::read_link(at).ok();
                match original.is_some() && original == target {
                    true => Relation::InPlace,
                    false => Relation::Different(format!("{} is no link to it", at.display())),
                }
            }
            _ if !placed.is_file() => differs(),
            (Mode::Extract, _) if size == Some(placed.len()) => Relation::InPlace,
            (Mode::Extract, _) => Relation::Unfinished,
            (_, None) => Relation::InPlace,
            (Mode::Move, Some(original)) => match same_bytes(&original, at)? {
                true => Relation::Copied(original),
                false => differs(),
            },
            (Mode::Hardlink, Some(original)) => {
                let original = read(&original)?;
                let same = (original.dev(), original.ino()) == (placed.dev(), placed.ino());
                if same { Relation::InPlace } else { differs() }
            }
            (Mode::Copy, Some(_)) if size == Some(placed.len()) => Relation::InPlace,
            (Mode::Copy, Some(_)) => Relation::Unfinished,
        })
    }

    /// Refuses hard links to another file system, and what there is no space for.
    fn check_devices(&self) -> Result<()> {
        let root = &self.root.path;
        let here = space::device(space::existing(root))?;
        let crosses = space::device(&self.journal.images)? != here;
        match self.journal.mode {
            Mode::Hardlink if crosses => Err(Error::config("mode", CROSSES)),
            Mode::Move if crosses => space::check(root, self.plan.bytes),
            Mode::Copy | Mode::Extract => space::check(root, self.plan.bytes),
            Mode::Hardlink | Mode::Move | Mode::Symlink => Ok(()),
        }
    }

    fn execute(&self, disk: Disk<'_>) -> Step {
        let partial = &self.root.partial;
        self.begin(disk)?;
        if !self.plan.remove.is_empty() {
            disk.sync(partial)?;
        }
        self.plan.remove.iter().try_for_each(|original| disk.remove_file(original))?;
        disk.count(self.wnids.len() - self.plan.place.len());
        let mut mover = Mover::new(disk);
        for number in &self.plan.place {
            self.place(*number, disk, &mut mover)?;
            disk.count(1);
        }
        mover.settle()?;
        disk.sync(partial)?;
        disk.rename(partial, &self.root.val)?;
        Ok(fsx::sync_folder(&self.root.path)?)
    }

    /// Makes the folders and the journal, and clears away what a killed process left.
    fn begin(&self, disk: Disk<'_>) -> Step {
        let partial = &self.root.partial;
        disk.create_folder(partial)?;
        self.tree.leftovers.iter().try_for_each(|path| disk.remove_file(path))?;
        if !self.is_begun {
            disk.write_journal(&self.journal, partial)?;
            fsx::sync_folder(&self.root.path)?;
        }
        let classes: std::collections::BTreeSet<&Wnid> = self.wnids.values().collect();
        classes.iter().try_for_each(|wnid| disk.create_folder(&partial.join(wnid.to_string())))
    }

    fn place(&self, number: u32, disk: Disk<'_>, mover: &mut Mover<'_>) -> Step {
        let to = tree::path(&self.root.partial, self.wnids[&number], number);
        let from = match &self.source {
            Source::Archive(tarball) => {
                return disk.write(tarball.reader(tarball.members[&number])?, &to);
            }
            Source::Folder(flat) => flat.path(number),
        };
        match self.journal.mode {
            Mode::Move => mover.relocate(&from, &to),
            Mode::Hardlink => disk.hard_link(&from, &to).map_err(linkable),
            Mode::Symlink => disk.symlink(&from, &to),
            Mode::Copy | Mode::Extract => disk.copy(&from, &to),
        }
    }

    fn summary(&self) -> Organized {
        Organized {
            images: self.wnids.len(),
            classes: self.journal.n_classes(),
            changed: self.plan.place.len(),
            bytes: self.plan.bytes,
            mode: Some(self.journal.mode),
            hidden: self.source.hidden().to_vec(),
            faults: self.plan.faults.clone(),
        }
    }
}

/// What a file in place is to the source's image of the same number.
#[derive(Debug)]
enum Relation {
    /// The source is done with it.
    InPlace,
    /// A copy whose original can go.
    Copied(PathBuf),
    /// Not all of it.
    Unfinished,
    /// Another file; in words.
    Different(String),
}

const CROSSES: &str = "hardlink: images and --out are on different file systems; use --mode copy, \
                       or symlink";

/// Says what to do where no hard links can be made.
fn linkable(halt: Halt) -> Halt {
    match halt {
        Halt::Failed(Error::Io { source, .. })
            if source.kind() == io::ErrorKind::CrossesDevices
                || source.kind() == io::ErrorKind::Unsupported =>
        {
            Halt::Failed(Error::config("mode", CROSSES))
        }
        other => other,
    }
}
