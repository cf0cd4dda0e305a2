//! Checks a finished validation set.

use std::collections::BTreeSet;
use std::path::Path;

use kd_core::{Error, Result};
use serde::Serialize;

use super::journal::Journal;
use super::labels::{ValLabels, Wnid};
use super::root::{Root, absolute};
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
}

/// Checks `root/val`: every image once, under its label, and by its first bytes a JPEG or PNG.
///
/// By `labels`, else by those that the folder was made by. Nothing is changed, and nothing is
/// decoded: that is up to who loads the images.
///
/// # Errors
/// [`Error::Missing`] when there is no `val`; [`Error::Config`] when there are no labels to check
/// by; [`Error::Parse`] for a damaged journal; [`Error::Io`].
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
