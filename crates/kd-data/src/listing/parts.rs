//! Where the parts of a data set are.

use std::fs;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result};

use super::annotated::{ANNOTATIONS, IMAGES};
use super::entries::{PassedOver, entries};

const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 2] = ["test", "testing"];
/// What to do where there is one part only.
const TWO_PARTS: &str = "training needs two parts: put the class folders into `train` and `val` (`kd data split` does it), \
     or set aside a share of each class: `--holdout 0.2`, in a suite `holdout = 0.2`";
const VAL: [&str; 4] = ["val", "valid", "validation", "dev"];

/// `path`, which must be a folder.
///
/// # Errors
/// [`Error::Missing`] with `hint`; [`Error::Parse`] for a file.
pub(crate) fn existing(path: PathBuf, hint: &str) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(path);
    }
    match path.exists() {
        true => Err(Error::parse(
            &path,
            "is a file, where a folder is needed; unpack it if it is an archive",
        )),
        false => Err(Error::Missing { path, hint: hint.into() }),
    }
}

/// Names of the parts that are in `root`, by what people call such folders, in any case; the empty name
/// for `root` itself where there are none.
pub fn part_names(root: &Path) -> Vec<String> {
    let usual = [&TRAIN[..], &VAL, &TEST].concat();
    let place = |name: &str| usual.iter().position(|part| name.eq_ignore_ascii_case(part));
    let there = fs::read_dir(root).into_iter().flatten().flatten();
    let mut there: Vec<String> = there
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| place(name).is_some())
        .collect();
    there.sort_by_key(|name| place(name));
    if there.is_empty() { vec![String::new()] } else { there }
}

/// The folders of a data set's parts, as people call them, in any case.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) train: Option<PathBuf>,
    /// Images to judge by that have labels.
    pub(crate) test: Option<PathBuf>,
}

impl Places {
    /// Those in `root` with class folders, or for which `is_part`; of `test` and `val` the first.
    pub(crate) fn test_first(root: &Path, is_part: fn(&Path) -> bool) -> Self {
        Self::find(root, &[&TEST[..], &VAL].concat(), is_part)
    }

    /// As [`Places::test_first`], but of `val` and `test` the first.
    pub(crate) fn val_first(root: &Path, is_part: fn(&Path) -> bool) -> Self {
        Self::find(root, &[&VAL[..], &TEST].concat(), is_part)
    }

    fn find(root: &Path, test: &[&str], is_part: fn(&Path) -> bool) -> Self {
        let there = fs::read_dir(root).into_iter().flatten().flatten();
        let mut there: Vec<PathBuf> = there.map(|entry| entry.path()).collect();
        there.sort_unstable();
        let called = |path: &Path, name: &str| {
            path.file_name().is_some_and(|own| own.to_string_lossy().eq_ignore_ascii_case(name))
        };
        let first = |names: &[&str]| {
            let mut all = names.iter().flat_map(|name| there.iter().filter(|p| called(p, name)));
            all.find(|path| has_classes(path) || is_part(path)).cloned()
        };
        Self { train: first(&TRAIN), test: first(test) }
    }

    /// Both, in `root`.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub(crate) fn both(self, root: &Path) -> Result<(PathBuf, PathBuf)> {
        let missing = |name: &str| Error::Missing { path: root.join(name), hint: TWO_PARTS.into() };
        Ok((self.train.ok_or_else(|| missing("train"))?, self.test.ok_or_else(|| missing("val"))?))
    }

    /// Whether all images lie in one folder.
    pub(crate) fn are_none(&self) -> bool {
        self.train.is_none() && self.test.is_none()
    }
}

/// Whether there are class folders; TinyImageNet's test images, for one, have no classes.
fn has_classes(folder: &Path) -> bool {
    match class_folders(folder).as_slice() {
        [] => false,
        [only] => only != IMAGES || folder.join(ANNOTATIONS).is_file(),
        _ => true,
    }
}

/// Names of the folders in `folder` that may be classes, sorted.
pub(crate) fn class_folders(folder: &Path) -> Vec<String> {
    let entries = entries(folder, &mut PassedOver::default()).unwrap_or_default();
    entries.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name.into()).collect()
}
