//! How labels become classes.

use std::path::Path;

use kd_core::{Error, Result, fsx};

use super::found::Pair;
use crate::Images;
use crate::idx::{self, Idx};

/// The most bytes of the file of characters.
const MAX_MAPPING: u64 = 1 << 16;

/// Which label is class 0, and what the classes are called.
#[derive(Debug)]
pub(super) struct Numbering {
    first: u8,
    n_classes: usize,
    names: Vec<String>,
    remarks: Vec<String>,
}

impl Numbering {
    /// The numbering of all `pairs` together: as `chosen`, else by the labels that there are.
    ///
    /// # Errors
    /// Those of the files; [`Error::Config`] for a label that the choice leaves no class for.
    pub(super) fn of(
        pairs: &[&Pair],
        (first, n_classes): (Option<u8>, Option<usize>),
        mapping: Option<&Path>,
    ) -> Result<Self> {
        let labels =
            pairs.iter().map(|pair| Idx::read(&pair.labels, 1)).collect::<Result<Vec<_>>>()?;
        let all = || labels.iter().flat_map(Idx::data).copied();
        let (least, greatest) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
        let chosen = first;
        let first = chosen.unwrap_or(u8::from(least == 1));
        if least < first {
            let reason = format!("there is a label {least}, below the first one, {first}");
            return Err(Error::config("data.first_label", reason));
        }
        let n_classes = n_classes.unwrap_or(usize::from(greatest - first) + 1);
        let names = mapping.map(|path| names(path, first, n_classes)).transpose()?;
        let remark = || {
            let labels = pairs[0].labels.display();
            format!(
                "{labels}: labels begin at 1, so that class 0 is label 1 (--first-label 0 keeps them)"
            )
        };
        let remarks = (first > 0 && chosen.is_none()).then(remark).into_iter().collect();
        Ok(Self { first, n_classes, names: names.unwrap_or_default(), remarks })
    }

    /// The images of a pair, with classes in place of labels.
    ///
    /// # Errors
    /// Those of the files.
    pub(super) fn images(&self, pair: &Pair) -> Result<Images> {
        let (images, labels) = (Idx::read(&pair.images, 3)?, Idx::read(&pair.labels, 1)?);
        let size = [images.dims()[1], images.dims()[2]];
        let n_labels = usize::from(self.first) + self.n_classes;
        let images = idx::join((&pair.images, images), (&pair.labels, labels), size, n_labels)?;
        let images = images.with_first_label(u32::from(self.first))?;
        Ok(images.with_class_names(self.names.clone()).with_remarks(self.remarks.clone()))
    }
}

/// The characters that the classes stand for: each line has a label and the codes of one or two.
fn names(path: &Path, first: u8, n_classes: usize) -> Result<Vec<String>> {
    let text = fsx::text(path, fsx::read_bounded(path, MAX_MAPPING, "it was there a moment ago")?)?;
    let named = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let label: usize = words.next()?.parse().ok()?;
        let code = words.next()?.parse().ok().and_then(char::from_u32)?;
        Some((label, code.to_string()))
    };
    let named: Vec<_> = text.lines().filter_map(named).collect();
    let name = |label: usize| named.iter().find(|(other, _)| *other == label).map(|(_, name)| name);
    let labels = usize::from(first)..usize::from(first) + n_classes;
    Ok(labels.map(|label| name(label).cloned()).collect::<Option<_>>().unwrap_or_default())
}
