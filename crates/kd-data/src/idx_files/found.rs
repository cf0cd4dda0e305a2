//! Which files belong together, by their names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result};

/// The most files of a folder that are looked at.
const MAX_FILES: usize = 10_000;

/// Images and their labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) images: PathBuf,
    pub(super) labels: PathBuf,
}

/// The files of a set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// What all names begin with.
    start: PathBuf,
    pub(super) train: Option<Pair>,
    pub(super) test: Option<Pair>,
    /// EMNIST's file of the characters that the labels stand for.
    pub(super) mapping: Option<PathBuf>,
}

/// What a file is of a set: the text before the part's name, whether it is of the training images,
/// and whether it has the images.
type Name = (String, bool, bool);

impl Found {
    /// The set in the folder `path`, or the one in the folder above whose names begin as `path` does.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is none; [`Error::Config`] where there are several.
    pub(super) fn at(path: &Path) -> Result<Self> {
        let start = match (path.is_dir(), path.file_name()) {
            (false, Some(name)) => name.to_string_lossy().into_owned(),
            _ => String::new(),
        };
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let mut sets: BTreeMap<PathBuf, BTreeMap<(bool, bool), PathBuf>> = BTreeMap::new();
        for file in files(folder) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let Some((before, is_train, has_images)) = told(&name) else { continue };
            if name.starts_with(&start) {
                let place = place(&file, &before);
                sets.entry(place).or_default().entry((is_train, has_images)).or_insert(file);
            }
        }
        let mut sets: Vec<Self> =
            sets.into_iter().filter_map(|(at, files)| set(at, files)).collect();
        match (sets.pop(), sets.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => Err(several(&sets, &last)),
            (None, _) => Err(Error::Missing {
                path: path.into(),
                hint: "it should be a folder with IDX files such as train-images-idx3-ubyte and \
                       train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, \
                       also as .gz"
                    .into(),
            }),
        }
    }

    /// That a part is asked for which is not there.
    pub(super) fn missing_part(&self) -> Error {
        let part = if self.train.is_none() { "train" } else { "t10k" };
        let hint = "images or labels of this part are not there; put them there, or set aside a share \
                    of the other part: `--holdout 0.2`";
        let path = PathBuf::from(format!("{}{part}-images-idx3-ubyte", self.start.display()));
        Error::Missing { path, hint: hint.into() }
    }
}

/// The set of these files, if images and labels of a part are there.
fn set(start: PathBuf, mut files: BTreeMap<(bool, bool), PathBuf>) -> Option<Found> {
    let mut pair = |is_train| {
        let (images, labels) =
            (files.remove(&(is_train, true))?, files.remove(&(is_train, false))?);
        Some(Pair { images, labels })
    };
    let (train, test) = (pair(true), pair(false));
    let mapping = PathBuf::from(format!("{}mapping.txt", start.display()));
    let mapping = mapping.is_file().then_some(mapping);
    (train.is_some() || test.is_some()).then_some(Found { start, train, test, mapping })
}

fn several(others: &[Found], last: &Found) -> Error {
    let names: Vec<_> =
        others.iter().chain([last]).map(|set| set.start.display().to_string()).collect();
    let reason =
        format!("there are several sets of IDX files; name one: idx:{}", names.join(", idx:"));
    Error::config("data.path", reason)
}

/// Files in `folder` and in the folders in it, those with shorter names first: not `.gz` before it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).take(MAX_FILES).collect::<Vec<_>>()
    };
    let (folders, mut files): (Vec<_>, Vec<_>) =
        list(folder).into_iter().partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| list(folder)));
    files.retain(|path| path.is_file());
    files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    files
}

/// What a file is by its name, if it is one of IDX.
fn told(name: &str) -> Option<Name> {
    let lower = name.to_lowercase();
    let kind = lower.strip_suffix(".gz").unwrap_or(&lower);
    let has_images = kind.contains("image");
    if !kind.contains("idx") || has_images == kind.contains("label") {
        return None;
    }
    let parts = [("train", true), ("t10k", false), ("test", false)];
    let (at, is_train) =
        parts.iter().find_map(|(part, is_train)| Some((kind.find(part)?, is_train)))?;
    Some((name.get(..at)?.to_owned(), *is_train, has_images))
}

/// What the names of the set begin with, with their folder; of a file in a folder of its own name,
/// that of this folder.
fn place(file: &Path, before: &str) -> PathBuf {
    let folder = file.parent().unwrap_or(file);
    let is_own = folder.file_name() == file.file_name();
    let folder = folder.parent().filter(|_| is_own).unwrap_or(folder);
    folder.join(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_names() {
        let is = |name, before: &str, is_train, has_images| {
            assert_eq!(told(name), Some((before.to_owned(), is_train, has_images)), "{name}");
        };
        is("train-images-idx3-ubyte", "", true, true);
        is("train-labels.idx1-ubyte", "", true, false);
        is("t10k-images-idx3-ubyte.gz", "", false, true);
        is("emnist-letters-test-labels-idx1-ubyte.gz", "emnist-letters-", false, false);
        is("kmnist_train_images.idx", "kmnist_", true, true);
        for name in ["train-images.png", "readme.txt", "train-idx3", "images-idx3-ubyte", "idx"] {
            assert_eq!(told(name), None, "{name}");
        }
    }
}
