//! The classes of ILSVRC2012's 50,000 validation images, from whichever source a user has.
//!
//! Key decision: a label belongs to the number in an image's file name, never to a position in
//! a list of files, so that a missing image cannot shift the labels of those after it (which is
//! what `torchvision.datasets.ImageNet` lets happen). All sources give the same [`ValLabels`],
//! and none is accepted unless it is complete: every image once, every class equally often.
//!
//! What it deliberately does not do: nothing is guessed or repaired, no script is executed, no
//! archive is unpacked.

mod devkit;
pub(crate) mod fake;
mod kaggle;
mod lines;
mod name;
mod synset_list;
mod synsets;
mod table;
mod valprep;

use std::fmt;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};

pub use self::name::{Wnid, val_name, val_number};
pub use self::synsets::classes;
pub use self::table::{Shape, ValLabels, cross_check};

/// The most bytes that a text file of labels may have; the largest known one has 2.2 million.
const MAX_TEXT: u64 = 32 << 20;

/// The kinds of sources that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The unpacked development kit: the ground truth by `ILSVRC2012_ID`.
    DevkitFolder,
    /// The development kit as it is published.
    DevkitArchive,
    /// The solution file of Kaggle's localization challenge.
    Kaggle,
    /// The list that TensorFlow's model repository has: line number = image number.
    SynsetList,
    /// A shell script of `mkdir` and `mv` lines, such as the one of soumith's imagenetloader.
    Valprep,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::DevkitFolder, Self::DevkitArchive, Self::Kaggle, Self::SynsetList, Self::Valprep];

    /// The name that such a source usually has.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::DevkitFolder => "ILSVRC2012_devkit_t12",
            Self::DevkitArchive => "ILSVRC2012_devkit_t12.tar.gz",
            Self::Kaggle => "LOC_val_solution.csv",
            Self::SynsetList => "imagenet_2012_validation_synset_labels.txt",
            Self::Valprep => "valprep.sh",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DevkitFolder => "the devkit folder",
            Self::DevkitArchive => "the devkit archive",
            Self::Kaggle => "Kaggle's solution file",
            Self::SynsetList => "the synset list",
            Self::Valprep => "the shell script",
        })
    }
}

/// Reads the labels at `path`, whose kind is told by its content, and checks that there are as
/// many as `shape` says.
///
/// # Errors
/// [`Error::Missing`] when there is nothing, or a devkit folder lacks a file; [`Error::Parse`]
/// for another kind of file, the first line or byte that such a file does not have, or a table
/// that is incomplete; [`Error::Io`].
pub fn read(path: &Path, shape: Shape) -> Result<ValLabels> {
    let kind = kind(path)?;
    let wnids = match kind {
        Kind::DevkitFolder => devkit::read_folder(path)?,
        Kind::DevkitArchive => devkit::read_archive(path)?,
        Kind::Kaggle | Kind::SynsetList | Kind::Valprep => {
            let text = text(path)?;
            let parse = match kind {
                Kind::Kaggle => kaggle::parse,
                Kind::SynsetList => synset_list::parse,
                _ => valprep::parse,
            };
            parse(&text).map_err(Fault::at(path))?
        }
    };
    ValLabels::new(kind, path, wnids, shape)
}

/// Reads the labels at all of `paths`, which must be the same.
///
/// # Errors
/// Those of [`read`] and [`cross_check`].
pub fn read_all(paths: &[PathBuf], shape: Shape) -> Result<Vec<ValLabels>> {
    let all = paths.iter().map(|path| read(path, shape)).collect::<Result<Vec<_>>>()?;
    all.iter().skip(1).try_for_each(|other| cross_check(&all[0], other))?;
    Ok(all)
}

/// What is at `path`, told by its first bytes; the text files' by their first line that is
/// neither blank nor a comment.
fn kind(path: &Path) -> Result<Kind> {
    let hint = format!("the labels come from one of: {}", known());
    let metadata = fs::metadata(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::Missing { path: path.into(), hint },
        _ => Error::Io { path: path.into(), action: "read", source },
    })?;
    if metadata.is_dir() {
        return Ok(Kind::DevkitFolder);
    }
    if !metadata.is_file() {
        return Err(Fault::new(0, "is neither file nor folder").at_path(path));
    }
    let start = start(path)?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Kind::DevkitArchive);
    }
    text_kind(&start).ok_or_else(|| {
        let reason = format!("holds no labels of validation images; they come from: {}", known());
        Fault::new(0, reason).at_path(path)
    })
}

fn text_kind(start: &[u8]) -> Option<Kind> {
    // The last character may be cut.
    let lossy = || String::from_utf8_lossy(start).into_owned();
    let text = fsx::text(Path::new(""), start.into()).unwrap_or_else(|_| lossy());
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'))?;
    match first.split_ascii_whitespace().next()? {
        kaggle::HEADER => Some(Kind::Kaggle),
        "mkdir" | "mv" => Some(Kind::Valprep),
        word => Wnid::parse(word).map(|_| Kind::SynsetList),
    }
}

/// The names of all kinds, for messages.
fn known() -> String {
    Kind::ALL.map(Kind::file_name).join(", ")
}

/// The first bytes of a file, as many as a script's opening comments may have.
fn start(path: &Path) -> Result<Vec<u8>> {
    let file = fsx::open(path, "it was there a moment ago")?;
    let mut start = Vec::new();
    file.take(1 << 16).read_to_end(&mut start).map_err(Error::io(path, "read"))?;
    Ok(start)
}

fn text(path: &Path) -> Result<String> {
    fsx::text(path, fsx::read_bounded(path, MAX_TEXT, "it was there a moment ago")?)
}

/// What was read, or what is wrong.
type Checked<T> = std::result::Result<T, Fault>;

/// What is wrong in a file, and at which byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    offset: u64,
    reason: String,
}

impl Fault {
    fn new(offset: u64, reason: impl Into<String>) -> Self {
        Self { offset, reason: reason.into() }
    }

    fn at_path(self, path: &Path) -> Error {
        Error::Parse { path: path.into(), offset: self.offset, reason: self.reason }
    }

    /// For `map_err`.
    fn at(path: &Path) -> impl FnOnce(Self) -> Error {
        move |fault| fault.at_path(path)
    }
}

#[cfg(test)]
mod tests;
