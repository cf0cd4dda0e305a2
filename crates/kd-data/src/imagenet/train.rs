//! Unpacks the training set: an archive of one archive per class.
//!
//! Key decision: a class is unpacked into a folder of another name, which gets its own when it is
//! complete, and all classes into `train.partial`. What was interrupted goes on with the classes
//! that are not complete.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, Halt, Step, Watch, outcome};
use super::flat::entries;
use super::labels::Wnid;
use super::root::{absolute, locked};
use super::tarball::{Member, Named, Tarball, damaged, name};
use super::{head, journal, space};
use crate::archive::AGAIN;
use crate::finding::{Fault, Finding, refuse};

/// What is to be done: `ROOT/train/WNID/WNID_X.JPEG` from `ILSVRC2012_img_train.tar`.
#[derive(Debug)]
pub struct Unpack {
    /// The archive of archives.
    pub archive: PathBuf,
    /// The folder in which `train` is made.
    pub root: PathBuf,
    /// How many classes there are.
    pub n_classes: usize,
    /// The classes of the validation set, if they are known, which must be the same.
    pub classes: Option<BTreeSet<Wnid>>,
}

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unpacked {
    /// Images of all classes; unknown to [`Unpack::dry_run`] for classes not yet unpacked.
    pub images: u64,
    /// Classes of the archive.
    pub classes: usize,
    /// Classes that were not yet unpacked.
    pub changed: usize,
    /// Bytes of these classes' archives.
    pub bytes: u64,
    /// Images of each class that is unpacked.
    pub counts: BTreeMap<String, u64>,
}

/// Kept in the folder that is worked in, and in the finished one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainJournal {
    archive: PathBuf,
    archive_bytes: u64,
    /// Images of each class; empty before all are unpacked.
    counts: BTreeMap<String, u64>,
}

impl Unpack {
    /// Does it, or goes on with it, or finds it done; nothing when the watch stopped it.
    ///
    /// # Errors
    /// Before anything is changed: [`Error::Folder`] for other classes than there should be, or
    /// another `train`; [`Error::Parse`] for a damaged archive; [`Error::Missing`];
    /// [`Error::Busy`]; [`Error::Io`], also for want of space. Later [`Error::Folder`] or
    /// [`Error::Parse`] for a class's archive that is not as it should be; the classes before it
    /// stay unpacked, and the same call goes on.
    pub fn run(&self, watch: Watch<'_>) -> Result<Option<Unpacked>> {
        locked(&self.root, |root| {
            let Some(survey) = self.survey(root)? else { return finished(root).map(Some) };
            let mut counts = survey.counts.clone();
            let ended = survey.execute(Disk(watch), &mut counts);
            outcome(ended, || survey.summary(&counts))
        })
    }

    /// Finds out what [`Self::run`] would do or refuse; nothing is changed.
    ///
    /// # Errors
    /// Those of [`Self::run`] that come before anything is changed.
    pub fn dry_run(&self) -> Result<Unpacked> {
        let root = absolute(&self.root)?;
        match self.survey(&root)? {
            Some(survey) => Ok(survey.summary(&survey.counts)),
            None => finished(&root),
        }
    }

    /// What is there and what remains to be done; nothing when it is done.
    fn survey(&self, root: &Path) -> Result<Option<Survey>> {
        let (train, partial) = (root.join("train"), root.join("train.partial"));
        if journal::read::<TrainJournal>(&train)?.is_some() {
            return Ok(None);
        }
        if train.exists() {
            let reason = "is there, and was not made by kd; move it away".into();
            return Err(Error::Folder { path: train, reason });
        }
        let archive = self.open()?;
        let counts = BTreeMap::new();
        let path = absolute(&self.archive)?;
        let journal = TrainJournal { archive: path, archive_bytes: archive.size, counts };
        let begun: Option<TrainJournal> = journal::read(&partial)?;
        if begun.as_ref().is_some_and(|begun| begun.archive_bytes != journal.archive_bytes) {
            let reason = "was begun with an archive of another size; remove it to begin anew";
            return Err(Error::Folder { path: partial, reason: reason.into() });
        }
        let counts = complete(&partial, begun.is_some(), &archive)?;
        let todo =
            archive.members.iter().filter(|(wnid, _)| !counts.contains_key(&wnid.to_string()));
        let todo: Vec<_> = todo.map(|(&wnid, &member)| (wnid, member)).collect();
        let bytes = todo.iter().map(|(_, member)| member.size).sum();
        space::check(root, bytes)?;
        Ok(Some(Survey { archive, train, partial, journal, todo, bytes, counts }))
    }

    /// Lists the classes' archives.
    fn open(&self) -> Result<Tarball<Wnid>> {
        if !self.archive.is_file() {
            let hint = "--train names ILSVRC2012_img_train.tar".into();
            return Err(Error::Missing { path: self.archive.clone(), hint });
        }
        let wnid = |name: &str| Wnid::parse(name.strip_suffix(".tar")?);
        let archive = Tarball::open(&self.archive, wnid)?;
        let mut findings = archive.findings.clone();
        if let Some(known) = &self.classes {
            let found: BTreeSet<_> = archive.members.keys().copied().collect();
            findings.extend(known.difference(&found).map(|w| Finding::missing(w.to_string())));
            let extra = "is no class of the validation images";
            let extra = |w: &Wnid| Finding::new(Fault::Extra, w.to_string(), extra);
            findings.extend(found.difference(known).map(extra));
        }
        refuse(&self.archive, &findings, "nothing was changed")?;
        if archive.members.len() != self.n_classes {
            let n = archive.members.len();
            let reason = format!("has {n} classes, expected {}; {AGAIN}", self.n_classes);
            return Err(Error::Folder { path: self.archive.clone(), reason });
        }
        Ok(archive)
    }
}

/// The classes that are complete in `partial`, with their numbers of images.
fn complete(
    partial: &Path,
    is_ours: bool,
    archive: &Tarball<Wnid>,
) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    if !partial.exists() {
        return Ok(counts);
    }
    for entry in entries(partial)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let class = name.strip_suffix(".partial").unwrap_or(&name);
        let is_class = Wnid::parse(class).is_some_and(|wnid| archive.members.contains_key(&wnid));
        if is_ours && is_class && name == class {
            counts.insert(name, entries(&entry.path())?.len() as u64);
        } else if !(is_ours && is_class || name.starts_with('.')) {
            let reason = format!("has {name}, which was not made by kd; move it away");
            return Err(Error::Folder { path: partial.into(), reason });
        }
    }
    Ok(counts)
}

/// Counts the images of a finished `root/train`; nothing where kd made none.
///
/// # Errors
/// [`Error::Folder`] for a class that has another number of images than when it was unpacked;
/// [`Error::Parse`] for a damaged journal; [`Error::Io`].
pub(super) fn verify_train(root: &Path) -> Result<Option<Unpacked>> {
    let journal: Option<TrainJournal> = journal::read(&root.join("train"))?;
    journal.map(|_| finished(root)).transpose()
}

/// The summary of what was done before, after a count.
fn finished(root: &Path) -> Result<Unpacked> {
    let train = root.join("train");
    let journal: Option<TrainJournal> = journal::read(&train)?;
    let counts = journal.map(|journal| journal.counts).unwrap_or_default();
    for (class, &n) in &counts {
        let folder = train.join(class);
        let found = if folder.is_dir() { entries(&folder)?.len() as u64 } else { 0 };
        if found != n {
            let reason = format!("{class} has {found} images of {n}; move it away to begin anew");
            return Err(Error::Folder { path: train, reason });
        }
    }
    let (images, classes) = (counts.values().sum(), counts.len());
    Ok(Unpacked { images, classes, changed: 0, bytes: 0, counts })
}

/// What is there and what remains to be done.
#[derive(Debug)]
struct Survey {
    archive: Tarball<Wnid>,
    train: PathBuf,
    partial: PathBuf,
    journal: TrainJournal,
    todo: Vec<(Wnid, Member)>,
    bytes: u64,
    /// Images of each class that is complete.
    counts: BTreeMap<String, u64>,
}

impl Survey {
    fn execute(&self, disk: Disk<'_>, counts: &mut BTreeMap<String, u64>) -> Step {
        disk.create_folder(&self.partial)?;
        for entry in entries(&self.partial)? {
            // What a killed process left of a journal.
            if entry.file_name().as_encoded_bytes().starts_with(b".tmp") {
                disk.remove_file(&entry.path())?;
            }
        }
        disk.write_journal(&self.journal, &self.partial)?;
        disk.count(counts.len());
        for &(wnid, member) in &self.todo {
            counts.insert(wnid.to_string(), self.unpack_class(wnid, member, disk)?);
            disk.count(1);
        }
        let journal = TrainJournal { counts: counts.clone(), ..self.journal.clone() };
        disk.write_journal(&journal, &self.partial)?;
        disk.sync(&self.partial)?;
        disk.rename(&self.partial, &self.train)?;
        Ok(fsx::sync_folder(self.train.parent().unwrap_or(&self.train))?)
    }

    /// Unpacks one class; gives the number of its images.
    fn unpack_class(
        &self,
        wnid: Wnid,
        member: Member,
        disk: Disk<'_>,
    ) -> std::result::Result<u64, Halt> {
        let unfinished = self.partial.join(format!("{wnid}.partial"));
        if unfinished.exists() {
            // What a stopped process left of this class.
            disk.remove_all(&unfinished)?;
        }
        disk.create_folder(&unfinished)?;
        let path = &self.archive.path;
        let mut archive = tar::Archive::new(self.archive.reader(member)?);
        let entries = archive.entries().map_err(damaged(path, member.offset))?.raw(true);
        let mut names = BTreeSet::new();
        for entry in entries {
            let mut entry = entry.map_err(damaged(path, member.offset))?;
            let fault = match name(&entry) {
                Named::Nothing => continue,
                Named::Other(name, fault) => Some((name, fault)),
                Named::File(name) if !is_image_of(wnid, &name) => {
                    Some((name, "is no image of the class"))
                }
                Named::File(name) if names.contains(&name) => Some((name, "is there twice")),
                Named::File(name) => {
                    let fault = write_image(&mut entry, &unfinished.join(&name), disk)?;
                    names.insert(name.clone());
                    fault.map(|fault| (name, fault))
                }
            };
            if let Some((name, fault)) = fault {
                let reason = format!("in {wnid}.tar: {name}: {fault}; {AGAIN}");
                return Err(Error::Folder { path: path.clone(), reason }.into());
            }
        }
        if names.is_empty() {
            let reason = format!("{wnid}.tar has no images; {AGAIN}");
            return Err(Error::Folder { path: path.clone(), reason }.into());
        }
        disk.sync(&unfinished)?;
        disk.rename(&unfinished, &self.partial.join(wnid.to_string()))?;
        Ok(names.len() as u64)
    }

    fn summary(&self, counts: &BTreeMap<String, u64>) -> Unpacked {
        Unpacked {
            images: counts.values().sum(),
            classes: self.archive.members.len(),
            changed: self.todo.len(),
            bytes: self.bytes,
            counts: counts.clone(),
        }
    }
}

/// Whether `name` is `WNID_DIGITS.JPEG`.
fn is_image_of(wnid: Wnid, name: &str) -> bool {
    let number = name.strip_prefix(&format!("{wnid}_")).and_then(|rest| rest.strip_suffix(".JPEG"));
    number.is_some_and(|digits| {
        (1..=10).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Writes an image of an archive, or says why it can be none.
fn write_image(
    entry: &mut tar::Entry<'_, impl Read>,
    path: &Path,
    disk: Disk<'_>,
) -> std::result::Result<Option<&'static str>, Halt> {
    let size = entry.size();
    let mut first = Vec::with_capacity(head::N_BYTES);
    let read = entry.take(head::N_BYTES as u64).read_to_end(&mut first);
    read.map_err(Error::io(path, "read"))?;
    if let Some(fault) = head::fault(size, &first) {
        return Ok(Some(fault));
    }
    let mut n = 0;
    disk.change(path, "write", || {
        let mut file = File::create(path)?;
        n = io::copy(&mut first.chain(entry), &mut file)?;
        Ok(())
    })?;
    Ok((n != size).then_some("is cut off"))
}
