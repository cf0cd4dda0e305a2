//! A folder of class folders, and whether every image lies under its label.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kd_core::{Error, Result};

use super::disk::TEMPORARY;
use super::flat::{Name, entries, kind_fault, renamed_finding};
use super::journal::JOURNAL;
use super::labels::{Wnid, val_name};
use crate::finding::{Fault, Finding};
use crate::sums::SUMS;

/// What lies in a folder of class folders.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) folder: PathBuf,
    /// The classes that each image lies in, by its number; never empty, mostly one.
    pub(super) images: BTreeMap<u32, Vec<Wnid>>,
    classes: BTreeSet<Wnid>,
    /// What is neither class folder nor image.
    strays: Vec<Finding>,
    renamed: Vec<(u32, String)>,
    /// Names that begin with a dot and are not ours, relative to the folder, and `SHA256SUMS`.
    pub(super) hidden: Vec<String>,
    /// What a killed process left of files that it was writing.
    pub(super) leftovers: Vec<PathBuf>,
}

impl Tree {
    /// Lists `folder`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Folder`] for more entries than any such folder has.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut tree = Self { folder: folder.into(), ..Self::default() };
        for entry in entries(folder)? {
            let kind = entry.file_type().map_err(Error::io(entry.path(), "read"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match Wnid::parse(&name) {
                Some(wnid) if kind.is_dir() => tree.read_class(wnid)?,
                _ if name == JOURNAL => {}
                _ if name.starts_with(".tmp") => tree.leftovers.push(entry.path()),
                _ if name.starts_with('.') || name == SUMS => tree.hidden.push(name),
                _ => {
                    let fault = kind_fault(kind).filter(|_| !kind.is_dir());
                    tree.stray(name, fault.unwrap_or("is no class folder"));
                }
            }
        }
        tree.hidden.sort_unstable();
        Ok(tree)
    }

    fn read_class(&mut self, wnid: Wnid) -> Result<()> {
        self.classes.insert(wnid);
        for entry in entries(&self.folder.join(wnid.to_string()))? {
            let kind = entry.file_type().map_err(Error::io(entry.path(), "read"))?;
            let name = entry.file_name();
            let relative = format!("{wnid}/{}", name.to_string_lossy());
            // A link is an image here: one of our modes makes links.
            let fault = kind_fault(kind).filter(|_| !kind.is_symlink());
            match (Name::of(&name), fault) {
                (Name::Hidden, _) if name == TEMPORARY => self.leftovers.push(entry.path()),
                (Name::Hidden, _) => self.hidden.push(relative),
                (_, Some(fault)) => self.stray(relative, fault),
                (Name::Image(number), None) => self.images.entry(number).or_default().push(wnid),
                (Name::Renamed(number), None) => self.renamed.push((number, relative)),
                (Name::Unknown, None) => self.stray(relative, "is no name of a validation image"),
            }
        }
        Ok(())
    }

    fn stray(&mut self, file: String, detail: &str) {
        self.strays.push(Finding::new(Fault::Extra, file, detail));
    }

    /// Where the image with this number lies, if in one class only.
    pub(super) fn path(&self, number: u32) -> Option<PathBuf> {
        let [wnid] = self.images.get(&number)?[..] else { return None };
        Some(path(&self.folder, wnid, number))
    }

    /// What is there and should not be, or not so; sorted.
    pub(super) fn faults(&self, wanted: &BTreeMap<u32, Wnid>) -> Vec<Finding> {
        let mut found = self.strays.clone();
        for (number, file) in &self.renamed {
            found.push(renamed_finding(*number, file.clone(), self.images.contains_key(number)));
        }
        let known: BTreeSet<Wnid> = wanted.values().copied().collect();
        for wnid in self.classes.difference(&known) {
            found.push(Finding::new(Fault::Extra, wnid.to_string(), "is none of the classes"));
        }
        for (&number, wnids) in &self.images {
            found.extend(misplaced(number, wnids, wanted.get(&number).copied()));
        }
        found.sort_unstable();
        found
    }

    /// The images that are not there.
    pub(super) fn missing(&self, wanted: &BTreeMap<u32, Wnid>) -> Vec<Finding> {
        let renamed: BTreeSet<u32> = self.renamed.iter().map(|(number, _)| *number).collect();
        let there = |number| self.images.contains_key(number) || renamed.contains(number);
        let missing = wanted.iter().filter(|(number, _)| !there(number));
        missing.map(|(&number, &wnid)| Finding::missing(relative(wnid, number))).collect()
    }
}

/// What is wrong with the classes that an image lies in, if it belongs into `wanted`.
fn misplaced(number: u32, wnids: &[Wnid], wanted: Option<Wnid>) -> Vec<Finding> {
    let others = wnids.iter().filter(|&&wnid| Some(wnid) != wanted);
    let mut there = wanted.is_some_and(|wanted| wnids.contains(&wanted));
    let finding = |&wnid: &Wnid| {
        let file = relative(wnid, number);
        let Some(wanted) = wanted else {
            return Finding::new(Fault::Extra, file, "there is no such image");
        };
        let fault = if there { Fault::Duplicate } else { Fault::Misplaced };
        there = true;
        Finding::new(fault, file, format!("belongs to {wanted}"))
    };
    others.map(finding).collect()
}

/// Where an image belongs in `folder`.
pub(super) fn path(folder: &Path, wnid: Wnid, number: u32) -> PathBuf {
    folder.join(wnid.to_string()).join(val_name(number))
}

/// As [`path`], in words.
pub(super) fn relative(wnid: Wnid, number: u32) -> String {
    format!("{wnid}/{}", val_name(number))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn everything_that_is_not_right_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let image = |wnid: &str, number| put(&format!("{wnid}/{}", val_name(number)));
        let [a, b] = ["n00000001", "n00000002"];
        let wanted = [(1, a), (2, a), (3, b), (4, b), (5, b), (6, a)];
        let wanted = wanted.map(|(number, wnid)| (number, Wnid::parse(wnid).unwrap()));
        image(a, 1);
        image(b, 2);
        image(a, 3);
        image(b, 3);
        image(a, 8);
        image("n00000009", 4);
        put("n00000001/ILSVRC2012_val_6.JPEG");
        put("n00000001/.kd-temporary");
        for name in ["n00000002/.DS_Store", "readme", "folder/x", ".tmpx", JOURNAL, SUMS] {
            put(name);
        }
        fs::create_dir(folder.path().join("n00000002").join(val_name(6))).unwrap();
        let tree = Tree::read(folder.path()).unwrap();
        let words = |found: &[Finding]| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let wanted = BTreeMap::from(wanted);
        assert_eq!(
            words(&tree.faults(&wanted)),
            [
                "extra: folder: is no class folder",
                "extra: n00000001/ILSVRC2012_val_00000008.JPEG: there is no such image",
                "extra: n00000002/ILSVRC2012_val_00000006.JPEG: is a folder",
                "extra: n00000009: is none of the classes",
                "extra: readme: is no class folder",
                "renamed: n00000001/ILSVRC2012_val_6.JPEG: should be called \
                 ILSVRC2012_val_00000006.JPEG",
                "misplaced: n00000002/ILSVRC2012_val_00000002.JPEG: belongs to n00000001",
                "misplaced: n00000009/ILSVRC2012_val_00000004.JPEG: belongs to n00000002",
                "duplicate: n00000001/ILSVRC2012_val_00000003.JPEG: belongs to n00000002",
            ]
        );
        let missing = ["missing: n00000002/ILSVRC2012_val_00000005.JPEG"];
        assert_eq!(words(&tree.missing(&wanted)), missing);
        assert_eq!(tree.hidden, [SUMS, "n00000002/.DS_Store"]);
        assert_eq!(tree.leftovers.len(), 2);
        assert_eq!((tree.path(3), tree.path(1).is_some()), (None, true));
    }
}
