//! Where the files of CIFAR are found: in a folder, or in the archive as it is published.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result};

use super::records::{Gathered, Labels};
use crate::Images;
use crate::archive::{self, Wanted};

/// The most bytes of a file of the archive: more than those of CIFAR-100's training images.
const MAX_FILE: u64 = 200 << 20;
/// The most that an archive may have when it is decompressed.
const MAX_TOTAL: u64 = 2 << 30;

/// What the files of a data set are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    /// Name of the data set, and of its own folder in the data folder.
    pub(crate) name: &'static str,
    /// The archive as it is published.
    pub(crate) archive: &'static str,
    /// The folder in it.
    pub(crate) folder: &'static str,
    /// Files of the training set, in order.
    pub(crate) train: &'static [&'static str],
    /// File of the test set.
    pub(crate) test: &'static str,
}

impl Set {
    /// Words on the version for Python, where that is there: it is pickled, and not read.
    fn python(self, places: &[PathBuf]) -> &'static str {
        let name = self.folder.replace("-batches-bin", "-batches-py").replace("-binary", "-python");
        let names = [format!("{name}.tar.gz"), self.archive.replace("-binary", "-python"), name];
        match places.iter().any(|place| names.iter().any(|name| place.join(name).exists())) {
            true => "; the version for Python, which is there, is another format",
            false => "",
        }
    }
}

/// Where all files come from: never a mixture of two sets.
#[derive(Debug)]
pub(crate) enum Source {
    Folder(PathBuf),
    Archive { path: PathBuf, contents: BTreeMap<&'static str, Vec<u8>> },
}

impl Source {
    /// The first folder that has the `needed` files, or the first archive, with `all` of them.
    ///
    /// # Errors
    /// [`Error::Missing`] that names what is not there; those of the archive.
    pub(crate) fn find(
        dir: Option<&Path>,
        set: Set,
        (needed, all): (&[&str], &[&'static str]),
    ) -> Result<Self> {
        let Set { name, archive, folder, train, test } = set;
        let dir = dir.ok_or_else(|| Error::Missing {
            path: name.into(),
            hint: "name the data folder with --data-dir or KD_DATA_DIR".into(),
        })?;
        let places = [dir.to_owned(), dir.join(name)];
        let folders = || places.iter().flat_map(|place| [place.clone(), place.join(folder)]);
        let has = |folder: &Path, name: &&str| folder.join(name).is_file();
        if let Some(folder) = folders().find(|f| needed.iter().all(|name| has(f, name))) {
            return Ok(Self::Folder(folder));
        }
        if let Some(path) = places.iter().map(|p| p.join(archive)).find(|path| path.is_file()) {
            let (max_file, max_total) = (MAX_FILE, MAX_TOTAL);
            let wanted = Wanted { folder, names: all, max_file, max_total };
            let contents = archive::read(&path, &wanted)?;
            return Ok(Self::Archive { path, contents });
        }
        // A folder that has some of the files is the one that was meant.
        let begun = folders().find(|f| all.iter().chain(&[test, train[0]]).any(|n| has(f, n)));
        let folder = begun.unwrap_or_else(|| dir.join(name));
        let missing: Vec<_> = needed.iter().copied().filter(|name| !has(&folder, name)).collect();
        let hint = format!(
            "needed in one folder: {}; or the archive {archive}, which `cargo xtask data {name}` \
             gets{}",
            missing.join(", "),
            set.python(&places)
        );
        Err(Error::Missing { path: folder.join(missing[0]), hint })
    }

    /// Those of the files `names` that are there, without a gap; an archive has all.
    ///
    /// # Errors
    /// [`Error::Missing`] for a gap.
    pub(crate) fn consecutive(&self, names: &[&'static str]) -> Result<Vec<&'static str>> {
        let Self::Folder(folder) = self else { return Ok(names.to_vec()) };
        let there: Vec<bool> = names.iter().map(|name| folder.join(name).is_file()).collect();
        let n = there.iter().take_while(|is_there| **is_there).count();
        if there[n..].contains(&true) {
            let hint = "files that come after it are there: a download or copy that broke off?";
            return Err(Error::Missing { path: folder.join(names[n]), hint: hint.into() });
        }
        Ok(names[..n].to_vec())
    }

    /// The images of the files called `names`, in this order.
    ///
    /// # Errors
    /// Those of [`Gathered`].
    pub(crate) fn images(&mut self, names: &[&'static str], labels: Labels) -> Result<Images> {
        let mut gathered = Gathered::new(labels);
        for name in names {
            match self {
                Self::Folder(folder) => gathered.read(&folder.join(name))?,
                Self::Archive { path, contents } => {
                    let content = contents.remove(name).unwrap_or_default();
                    gathered.add(&path.join(name), &content)?;
                }
            }
        }
        gathered.into_images()
    }
}
