//! What is wrong with a set of images, file by file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use kd_core::{Error, Result};
use serde::Serialize;

/// How many files of each kind a refusal names.
const N_NAMED: usize = 5;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// An image that should be there is not.
    Missing,
    /// Something is there that does not belong there.
    Extra,
    /// An image has another name than it should.
    Renamed,
    /// An image lies in another class than its own.
    Misplaced,
    /// An image is there twice.
    Duplicate,
    /// A file is empty, begins neither as JPEG nor as PNG, or is not that of its checksum.
    Corrupt,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Renamed => "renamed",
            Self::Misplaced => "misplaced",
            Self::Duplicate => "duplicate",
            Self::Corrupt => "corrupt",
        })
    }
}

/// A file and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What kind of fault it is.
    pub fault: Fault,
    /// The file, relative to the folder or archive that was looked at.
    pub file: String,
    /// More about it; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(fault: Fault, file: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { fault, file: file.into(), detail: detail.into() }
    }

    pub(crate) fn missing(file: impl Into<String>) -> Self {
        Self::new(Fault::Missing, file, "")
    }

    /// The file and the detail.
    fn words(&self) -> String {
        match self.detail.as_str() {
            "" => self.file.clone(),
            detail => format!("{}: {detail}", self.file),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault, self.words())
    }
}

/// Refuses `folder` if there are findings; names the first of each kind, and says what to do.
///
/// # Errors
/// [`Error::Folder`].
pub(crate) fn refuse(folder: &Path, findings: &[Finding], advice: &str) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let mut kinds: BTreeMap<Fault, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        kinds.entry(finding.fault).or_default().push(finding);
    }
    let kinds: Vec<_> = kinds.iter().map(|(fault, list)| summary(*fault, list)).collect();
    let reason = format!("{}; {advice}", kinds.join(", "));
    Err(Error::Folder { path: folder.into(), reason })
}

/// Refuses `folder` if there are findings, which were all told before; says what to do.
///
/// # Errors
/// [`Error::Folder`].
pub fn refuse_told(folder: &Path, n_findings: usize, advice: &str) -> Result<()> {
    match n_findings {
        0 => Ok(()),
        n => {
            let reason = format!("{n} faults, listed above{advice}");
            Err(Error::Folder { path: folder.into(), reason })
        }
    }
}

fn summary(fault: Fault, list: &[&Finding]) -> String {
    let mut named: Vec<_> = list.iter().take(N_NAMED).map(|finding| finding.words()).collect();
    if list.len() > N_NAMED {
        named.push(format!("and {} more", list.len() - N_NAMED));
    }
    format!("{} {fault} ({})", list.len(), named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_and_names() {
        let mut findings: Vec<_> = (1..=7).map(|i| Finding::missing(format!("m{i}"))).collect();
        findings.push(Finding::new(Fault::Extra, "x", "is a folder"));
        let error = refuse(Path::new("flat"), &findings, "nothing was changed").unwrap_err();
        assert_eq!(
            error.to_string(),
            "flat: 7 missing (m1, m2, m3, m4, m5, and 2 more), 1 extra (x: is a folder); nothing \
             was changed"
        );
        refuse(Path::new("flat"), &[], "").unwrap();
        assert_eq!(findings[7].to_string(), "extra: x: is a folder");
    }
}
