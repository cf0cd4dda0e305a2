//! The files of a folder of class folders, with their labels.

use std::path::{Path, PathBuf};

use kd_core::record::DataFile;
use kd_core::{Error, Result, fsx};
use rayon::prelude::*;

use super::annotated::{self, Annotations};
use super::entries::{Above, Below, Entry, PassedOver, entries, order};
use super::words;
use crate::sums::digests::{DIFFERS, REMEDY, Sums};

/// The most bytes that the file of a photograph may have.
pub(crate) const MAX_IMAGE: u64 = 64 << 20;
/// The most images of one part, all classes together.
const MAX_IMAGES: usize = 4_000_000;

/// The files of all classes, with their labels.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) folder: PathBuf,
    /// Names of the classes, sorted.
    pub(crate) classes: Vec<String>,
    /// Paths of the files, sorted within each class: from its folder, or from that of all classes.
    pub(crate) files: Vec<Box<str>>,
    /// The class of each file.
    pub(crate) labels: Vec<u32>,
    /// What the contents must be, where `SHA256SUMS` says it.
    pub(crate) sums: Option<Sums>,
    passed_over: PassedOver,
    /// Whether the files lie in class folders; else a list says the class of each.
    pub(crate) in_classes: bool,
}

impl Listing {
    /// Lists `folder` without checksums.
    ///
    /// # Errors
    /// [`Error::Io`], also for a symbolic link of a picture's name that leads nowhere;
    /// [`Error::Parse`] when there are no pictures in class folders, or none that are read in one of
    /// them, for links in a circle, a picture's name that is not UTF-8, or more than may be.
    pub(crate) fn names(folder: &Path) -> Result<Self> {
        let mut passed_over = PassedOver::default();
        let mut entries = entries(folder, &mut passed_over)?;
        if let Some(annotations) = Annotations::read(folder, &entries)? {
            return Self::annotated(folder, annotations);
        }
        let n_entries = entries.len();
        entries.retain(|entry| entry.is_folder);
        if entries.is_empty() {
            let reason = match n_entries {
                0 => "has no class folders with pictures",
                _ => {
                    "has pictures, but no class folders: one folder for the pictures of each class"
                }
            };
            return Err(Error::parse(folder, reason));
        }
        passed_over.add_beside(n_entries - entries.len());
        let mut listing = Self::empty(folder, passed_over);
        let above = Above::default().and(folder)?;
        let read = |entry: &Entry| Below::read(&folder.join(&*entry.name), &above);
        let below: Vec<Result<Below>> = entries.par_iter().map(read).collect();
        for (entry, below) in entries.into_iter().zip(below) {
            listing.add(entry, below?)?;
        }
        match listing.files.is_empty() {
            true => Err(Error::parse(folder, "has no pictures in its class folders")),
            false => Ok(listing),
        }
    }

    /// The pictures of one folder, by the list of their classes.
    fn annotated(folder: &Path, annotations: Annotations) -> Result<Self> {
        let (classes, passed_over) = annotations.classes(folder)?;
        let mut listing = Self { in_classes: false, ..Self::empty(folder, passed_over) };
        for (class, files) in classes {
            let below = Below { files, passed_over: PassedOver::default() };
            listing.add(Entry { name: class.into(), is_folder: true }, below)?;
        }
        Ok(listing)
    }

    fn empty(folder: &Path, passed_over: PassedOver) -> Self {
        Self {
            folder: folder.into(),
            classes: Vec::new(),
            files: Vec::new(),
            labels: Vec::new(),
            sums: None,
            passed_over,
            in_classes: true,
        }
    }

    /// Adds a class, or passes over a folder in which are files but no pictures.
    fn add(&mut self, class: Entry, below: Below) -> Result<()> {
        if below.files.is_empty() {
            if annotated::is_left_over(&self.folder, &class.name) {
                return Ok(());
            }
            if let Some(extension) = below.passed_over.unread() {
                let reason = format!(
                    "has only pictures that are not read, such as .{extension}; save them as JPEG \
                     or PNG"
                );
                return Err(Error::parse(self.folder.join(&*class.name), reason));
            }
            if below.passed_over.has_visible() {
                self.passed_over.add_folder(&class.name);
                return Ok(());
            }
        }
        let label = self.classes.len() as u32;
        self.passed_over.extend(below.passed_over);
        self.classes.push(class.name.into());
        self.files.extend(below.files);
        self.labels.resize(self.files.len(), label);
        if self.files.len() > MAX_IMAGES {
            return Err(Error::parse(&self.folder, "has more than 4 million images"));
        }
        Ok(())
    }

    /// Refuses a class without pictures.
    ///
    /// # Errors
    /// [`Error::Parse`].
    pub(crate) fn require_pictures(&self) -> Result<()> {
        let has_none = |label: &usize| self.labels.binary_search(&(*label as u32)).is_err();
        match (0..self.classes.len()).find(has_none) {
            Some(label) => {
                let reason = "has no images; remove the folder or fill it";
                Err(Error::parse(self.folder.join(&self.classes[label]), reason))
            }
            None => Ok(()),
        }
    }

    /// These files with labels by `classes`, of which theirs are some or all.
    ///
    /// # Errors
    /// [`Error::Parse`] that names a class which is none of them.
    pub(crate) fn with_classes(mut self, classes: &[String]) -> Result<Self> {
        let position = |class: &String| {
            classes.binary_search(class).map(|label| label as u32).map_err(|_| {
                let reason = format!("class `{class}` is none of the training images' classes");
                Error::parse(&self.folder, reason)
            })
        };
        let labels = self.classes.iter().map(position).collect::<Result<Vec<u32>>>()?;
        self.labels.iter_mut().for_each(|label| *label = labels[*label as usize]);
        self.classes = classes.to_vec();
        Ok(self)
    }

    /// `CLASS/FILE` of file `i`, or its path from the folder where there are no class folders.
    pub(crate) fn name(&self, i: usize) -> String {
        match self.in_classes {
            true => format!("{}/{}", self.classes[self.labels[i] as usize], self.files[i]),
            false => self.files[i].clone().into(),
        }
    }

    /// Where file `i` is.
    pub(crate) fn path(&self, i: usize) -> PathBuf {
        match self.in_classes {
            true => self.folder.join(&self.classes[self.labels[i] as usize]).join(&*self.files[i]),
            false => self.folder.join(&*self.files[i]),
        }
    }

    /// Which file has this [`Listing::name`].
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        if !self.in_classes {
            return (0..self.classes.len()).find_map(|label| self.find_in(label as u32, name));
        }
        let (class, file) = name.split_once('/')?;
        let label = self.classes.binary_search_by(|other| other.as_str().cmp(class)).ok()?;
        self.find_in(label as u32, file)
    }

    fn find_in(&self, label: u32, file: &str) -> Option<usize> {
        let first = self.labels.partition_point(|&other| other < label);
        let end = self.labels.partition_point(|&other| other <= label);
        let found = self.files[first..end].binary_search_by(|other| order(other, file));
        found.ok().map(|i| first + i)
    }

    /// The content of file `i`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Parse`] for more than `limit` bytes, or others
    /// than the checksum is of.
    pub(crate) fn bytes(&self, i: usize, limit: u64) -> Result<Vec<u8>> {
        let path = self.path(i);
        let bytes = fsx::read_bounded(&path, limit, "it was there when the folder was listed")?;
        match &self.sums {
            Some(sums) if !sums.agree(i, &bytes) => {
                Err(Error::parse(&path, format!("{DIFFERS}; restore it, or {REMEDY}")))
            }
            _ => Ok(bytes),
        }
    }

    /// One digest for all files: of a line for each.
    pub(crate) fn identity(&self, lines: impl Iterator<Item = String>) -> DataFile {
        DataFile {
            name: self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: fsx::sha256(lines.collect::<String>().as_bytes()),
            n_items: self.files.len(),
        }
    }

    /// What a user should know of the folder, a line each: what was passed over, classes without
    /// pictures, that there is one class only, and how classes are numbered whose names are numbers.
    pub(crate) fn remarks(&self) -> Vec<String> {
        self.remarks_as(&self.classes, &self.labels)
    }

    /// As [`Listing::remarks`], where the files have these labels by these classes.
    pub(crate) fn remarks_as(&self, classes: &[String], labels: &[u32]) -> Vec<String> {
        let folder = self.folder.display();
        let has_none = |label: &usize| labels.binary_search(&(*label as u32)).is_err();
        let empty: Vec<_> = (0..classes.len()).filter(has_none).collect();
        let empty = (!empty.is_empty()).then(|| {
            let names = words::list(empty.iter().map(|&label| classes[label].as_str()));
            format!("{} of {} classes have no pictures: {names}", empty.len(), classes.len())
        });
        let own = [self.passed_over.words(), empty, words::only_class(classes)];
        let own = own.into_iter().flatten();
        let own = own.map(|words| format!("{folder}: {words}"));
        own.chain(words::class_order(classes)).collect()
    }
}
