//! What was made of ImageNet, in words.

use std::fmt;

use kd_core::Result;
use serde::Serialize;

use super::organize::{Organize, Organized};
use super::train::{Unpack, Unpacked};

/// What was made of one set or both, or would be.
#[derive(Debug, Serialize)]
pub struct Made {
    /// The validation set.
    #[serde(flatten)]
    pub val: Option<Organized>,
    /// The training set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<Unpacked>,
    /// Whether nothing was changed yet.
    #[serde(skip)]
    pub is_dry: bool,
}

impl Made {
    /// What these would make; nothing is changed.
    ///
    /// # Errors
    /// Those of [`Organize::dry_run`] and [`Unpack::dry_run`].
    pub fn dry_run(organize: Option<&Organize>, unpack: Option<&Unpack>) -> Result<Self> {
        let val = organize.map(Organize::dry_run).transpose()?;
        Ok(Self { val, train: unpack.map(Unpack::dry_run).transpose()?, is_dry: true })
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_dry { "would change" } else { "changed" };
        let mut lines = Vec::new();
        if let Some(Organized { images, classes, changed, mode, faults, .. }) = &self.val {
            lines.extend(faults.iter().map(ToString::to_string));
            let how = mode.map(|mode| format!(" ({mode})")).unwrap_or_default();
            lines.push(format!("val: {images} images of {classes} classes{how}; {changed} {verb}"));
        }
        if let Some(Unpacked { images, classes, changed, counts, .. }) = &self.train {
            lines.extend(counts.iter().map(|(class, n)| format!("{class} {n}")));
            let what = format!("{images} images of {classes} classes; {changed} classes");
            lines.push(format!("train: {what} {verb}"));
        }
        f.write_str(&lines.join("\n"))
    }
}
