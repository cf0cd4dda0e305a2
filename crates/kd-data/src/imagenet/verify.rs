//! Checks a finished validation set.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use kd_core::{Error, Result};
use serde::Serialize;

use super::journal::Journal;
use super::labels::{ValLabels, Wnid};
use super::root::{Root, absolute};
use super::train::{Unpacked, verify_train};
use super::tree::{Tree, relative};
use super::{Wnids, head};
use crate::finding::{Fault, Finding};

/// What was found in a finished validation set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Images that should be there.
    pub images: usize,
    /// Classes that should be there.
    pub classes: usize,
    /// What is wrong; empty for a good set.
    pub faults: Vec<Finding>,
    /// Names that begin with a dot, which loaders pass over, and `SHA256SUMS`.
    pub hidden: Vec<String>,
    /// The training set beside it, where it was unpacked by kd: its images are counted.
    pub train: Option<Unpacked>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, classes, faults, train, .. } = self;
        faults.iter().try_for_each(|fault| writeln!(f, "{fault}"))?;
        write!(f, "val: {images} images of {classes} classes; {} faults", faults.len())?;
        train.as_ref().map_or(Ok(()), |Unpacked { images, classes, .. }| {
            write!(f, "\ntrain: {images} images of {classes} classes, all there")
        })
    }
}

/// Checks `root/val`: every image once, under its label, and by its first bytes a JPEG or PNG; and that
/// `root/train`, where kd unpacked it, has as many images of each class as it had then.
///
/// By `labels`, else by those that the folder was made by. Nothing is changed, and nothing is
/// decoded: that is up to who loads the images.
///
/// # Errors
/// [`Error::Missing`] when there is no `val`; [`Error::Config`] when there are no labels to check
/// by; [`Error::Parse`] for a damaged journal; [`Error::Folder`] for training images that are missing;
/// [`Error::Io`].
pub fn verify(root: &Path, labels: Option<&ValLabels>) -> Result<Verdict> {
    let root = Root::new(&absolute(root)?);
    if !root.val.is_dir() {
        let hint = match root.partial.is_dir() {
            true => "the work on it was interrupted; start it again to finish it",
            false => "--out names the folder in which val lies",
        };
        return Err(Error::Missing { path: root.val, hint: hint.into() });
    }
    let wnids = match labels {
        Some(labels) => labels.wnids().clone(),
        None => own_labels(&root)?,
    };
    let tree = Tree::read(&root.val)?;
    let mut faults = [tree.missing(&wnids), tree.faults(&wnids), corrupt(&tree)?].concat();
    faults.extend(tree.leftovers.iter().map(|path| {
        let name = path.strip_prefix(&tree.folder).unwrap_or(path).to_string_lossy();
        Finding::new(Fault::Extra, name, "was not finished")
    }));
    faults.sort_unstable();
    Ok(Verdict {
        images: wnids.len(),
        classes: wnids.values().collect::<BTreeSet<&Wnid>>().len(),
        faults,
        hidden: tree.hidden,
        train: verify_train(&root.path)?,
    })
}

/// The labels that the folder was made by.
fn own_labels(root: &Root) -> Result<Wnids> {
    let reason = "is needed to check a folder that was not made by kd";
    let journal = Journal::read(&root.val)?.ok_or_else(|| Error::config("labels", reason))?;
    journal.wnids(&root.val)
}

fn corrupt(tree: &Tree) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    for (&number, wnids) in &tree.images {
        for &wnid in wnids {
            let path = super::tree::path(&tree.folder, wnid, number);
            files.push((relative(wnid, number), path));
        }
    }
    head::check_files(&files)
}
