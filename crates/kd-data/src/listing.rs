//! Which images a folder of class folders holds.
//!
//! Key decision: classes are numbered and images ordered as by torchvision's `ImageFolder`, but
//! what is no image stops the reading and is named, where torchvision passes over it. Types come
//! with the names from the directory, so that a million files are listed without opening one.

use std::fs::{self, DirEntry, FileType};
use std::path::{Path, PathBuf};

use kd_core::record::DataFile;
use kd_core::{Error, Result, fsx};
use rayon::prelude::*;

use crate::sums::digests::{DIFFERS, REMEDY, SUMS, Sums};

/// The most bytes that the file of a photograph may have.
pub(crate) const MAX_IMAGE: u64 = 64 << 20;
/// The most files and folders that one folder may have.
const MAX_ENTRIES: usize = 4_000_000;
/// The most images of one part, all classes together.
const MAX_IMAGES: usize = 4_000_000;

/// How the names of pictures end, in any case: those of torchvision's `ImageFolder`, and GIF.
const EXTENSIONS: [&str; 10] =
    ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp", "gif"];

/// The files of all classes, with their labels.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) folder: PathBuf,
    /// Names of the classes, sorted.
    pub(crate) classes: Vec<String>,
    /// Names of the files, sorted within each class; never empty.
    pub(crate) files: Vec<Box<str>>,
    /// The class of each file.
    pub(crate) labels: Vec<u32>,
    /// What the contents must be, where `SHA256SUMS` says it.
    pub(crate) sums: Option<Sums>,
}

impl Listing {
    /// Lists `folder` without checksums. Names that begin with a dot are passed over.
    ///
    /// # Errors
    /// [`Error::Io`], also for a symbolic link that leads nowhere or in a circle;
    /// [`Error::Parse`] for what does not belong there, a class without images, a name that is
    /// not UTF-8, or more than may be.
    pub(crate) fn names(folder: &Path) -> Result<Self> {
        let mut classes = entries(folder)?;
        classes.retain(|entry| &*entry.name != SUMS || !entry.kind.is_file());
        if classes.is_empty() {
            return Err(stray(folder, "has no class folders"));
        }
        if let Some(other) = classes.iter().find(|entry| !entry.kind.is_dir()) {
            let reason = "is no folder; beside the class folders is nothing but SHA256SUMS";
            return Err(stray(&folder.join(&*other.name), reason));
        }
        let files: Vec<_> = classes.par_iter().map(|class| images(folder, &class.name)).collect();
        let mut listing = Self {
            folder: folder.into(),
            classes: classes.into_iter().map(|class| class.name.into()).collect(),
            files: Vec::new(),
            labels: Vec::new(),
            sums: None,
        };
        for (label, files) in files.into_iter().enumerate() {
            listing.files.extend(files?);
            listing.labels.resize(listing.files.len(), label as u32);
            if listing.files.len() > MAX_IMAGES {
                return Err(stray(folder, "has more than 4 million images"));
            }
        }
        Ok(listing)
    }

    /// `CLASS/FILE` of file `i`.
    pub(crate) fn name(&self, i: usize) -> String {
        format!("{}/{}", self.classes[self.labels[i] as usize], self.files[i])
    }

    /// Where file `i` is.
    pub(crate) fn path(&self, i: usize) -> PathBuf {
        self.folder.join(&self.classes[self.labels[i] as usize]).join(&*self.files[i])
    }

    /// Which file is `CLASS/FILE`.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let (class, file) = name.split_once('/')?;
        let label = self.classes.binary_search_by(|other| other.as_str().cmp(class)).ok()? as u32;
        let first = self.labels.partition_point(|&other| other < label);
        let end = self.labels.partition_point(|&other| other <= label);
        let found = self.files[first..end].binary_search_by(|other| (**other).cmp(file));
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
                Err(stray(&path, &format!("{DIFFERS}; restore it, or {REMEDY}")))
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
}

struct Entry {
    name: Box<str>,
    /// Of what a symbolic link leads to.
    kind: FileType,
}

/// The images of one class.
fn images(folder: &Path, class: &str) -> Result<Vec<Box<str>>> {
    let folder = folder.join(class);
    let entries = entries(&folder)?;
    if entries.is_empty() {
        return Err(stray(&folder, "has no images; remove the folder or fill it"));
    }
    if let Some(other) = entries.iter().find(|entry| !is_image(entry)) {
        let reason =
            format!("is no .{} file; in a class folder is nothing else", EXTENSIONS.join(", ."));
        return Err(stray(&folder.join(&*other.name), &reason));
    }
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

/// What is in `folder`, sorted by name, without hidden names.
fn entries(folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
        let entry = entry.map_err(Error::io(folder, "read"))?;
        entries.extend(visible(&entry)?);
        if entries.len() > MAX_ENTRIES {
            return Err(stray(folder, "has more than 4 million entries"));
        }
    }
    entries.sort_unstable_by(|a: &Entry, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// An entry, unless its name is hidden.
fn visible(entry: &DirEntry) -> Result<Option<Entry>> {
    let name = entry.file_name();
    let path = || entry.path();
    let Some(name) = name.to_str() else {
        return Err(stray(&path(), "has a name that is not UTF-8"));
    };
    if name.starts_with('.') {
        return Ok(None);
    }
    let mut kind = entry.file_type().map_err(Error::io(path(), "read"))?;
    if kind.is_symlink() {
        kind = fs::metadata(path()).map_err(Error::io(path(), "follow"))?.file_type();
    }
    Ok(Some(Entry { name: name.into(), kind }))
}

fn is_image(entry: &Entry) -> bool {
    let extension = Path::new(&*entry.name).extension().and_then(|extension| extension.to_str());
    let extension = extension.unwrap_or_default().to_ascii_lowercase();
    EXTENSIONS.contains(&extension.as_str()) && entry.kind.is_file()
}

fn stray(path: &Path, reason: &str) -> Error {
    Error::Parse { path: path.into(), offset: 0, reason: reason.into() }
}
