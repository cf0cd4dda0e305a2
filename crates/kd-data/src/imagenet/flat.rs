//! The flat folder of validation images, as the archive is unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirEntry, FileType};
use std::path::{Path, PathBuf};

use kd_core::{Error, Result};

use super::labels::{val_name, val_number};
use crate::finding::{Fault, Finding};

/// The most entries that one folder may have.
const MAX_ENTRIES: usize = 4_000_000;

/// What a name in a folder of validation images is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Begins with a dot; passed over.
    Hidden,
    /// Exactly that of the image with this number.
    Image(u32),
    /// Nearly that of the image with this number: other letters' case, ending or zeros.
    Renamed(u32),
    /// Anything else.
    Unknown,
}

impl Name {
    pub(super) fn of(name: &OsStr) -> Self {
        if name.as_encoded_bytes().starts_with(b".") {
            return Self::Hidden;
        }
        let Some(text) = name.to_str() else { return Self::Unknown };
        match (val_number(text), similar(text)) {
            (Some(number), _) => Self::Image(number),
            (None, Some(number)) => Self::Renamed(number),
            (None, None) => Self::Unknown,
        }
    }
}

fn similar(text: &str) -> Option<u32> {
    let text = text.to_ascii_lowercase();
    let id = text.strip_suffix(".jpeg").or_else(|| text.strip_suffix(".jpg"))?;
    let digits = id.strip_prefix("ilsvrc2012_val_")?;
    let number =
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    (number > 0).then_some(number)
}

/// Why an entry of a folder is no regular file.
pub(super) fn kind_fault(kind: FileType) -> Option<&'static str> {
    match kind {
        _ if kind.is_file() => None,
        _ if kind.is_symlink() => Some("is a symbolic link"),
        _ if kind.is_dir() => Some("is a folder"),
        _ => Some("is no regular file"),
    }
}

/// What is in `folder`, in any order.
///
/// # Errors
/// [`Error::Io`]; [`Error::Folder`] for more than four million entries.
pub(super) fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
        found.push(entry.map_err(Error::io(folder, "read"))?);
        if found.len() > MAX_ENTRIES {
            let reason = "has more than 4 million entries".into();
            return Err(Error::Folder { path: folder.into(), reason });
        }
    }
    Ok(found)
}

/// The images of a flat folder.
#[derive(Debug, Default)]
pub(super) struct Flat {
    folder: PathBuf,
    /// Bytes of each image, by its number.
    pub(super) sizes: BTreeMap<u32, u64>,
    /// All that is there besides.
    pub(super) findings: Vec<Finding>,
    /// Numbers of images that are there under another name.
    pub(super) renamed: BTreeSet<u32>,
    /// Names that begin with a dot, which are passed over; sorted.
    pub(super) hidden: Vec<String>,
}

impl Flat {
    /// Lists `folder`, in which the images 1 to `n_images` are expected.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Folder`] for more entries than any such folder has.
    pub(super) fn read(folder: &Path, n_images: u32) -> Result<Self> {
        let mut flat = Self { folder: folder.into(), ..Self::default() };
        let mut renamed = Vec::new();
        for entry in entries(folder)? {
            let name = entry.file_name();
            let text = name.to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(Error::io(entry.path(), "read"))?;
            match (Name::of(&name), kind_fault(kind)) {
                (Name::Hidden, _) => flat.hidden.push(text),
                (_, Some(fault)) => flat.extra(text, fault),
                (Name::Image(number), None) if number <= n_images => {
                    let metadata = entry.metadata().map_err(Error::io(entry.path(), "read"))?;
                    flat.sizes.insert(number, metadata.len());
                }
                (Name::Image(_), None) => {
                    flat.extra(text, &format!("there are only {n_images} images"));
                }
                (Name::Renamed(number), None) => renamed.push((number, text)),
                (Name::Unknown, None) => flat.extra(text, "is no name of a validation image"),
            }
        }
        flat.hidden.sort_unstable();
        for (number, text) in renamed {
            flat.renamed.insert(number);
            let known = flat.sizes.contains_key(&number);
            flat.findings.push(renamed_finding(number, text, known));
        }
        flat.findings.sort_unstable();
        Ok(flat)
    }

    /// Where the image with this number lies.
    pub(super) fn path(&self, number: u32) -> PathBuf {
        self.folder.join(val_name(number))
    }

    fn extra(&mut self, file: String, detail: &str) {
        self.findings.push(Finding::new(Fault::Extra, file, detail));
    }
}

/// The finding on a file whose name is nearly that of an image which is also there, or not.
pub(super) fn renamed_finding(number: u32, file: String, known: bool) -> Finding {
    let name = val_name(number);
    match known {
        true => Finding::new(Fault::Duplicate, file, format!("{name} is there, too")),
        false => Finding::new(Fault::Renamed, file, format!("should be called {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_similar_or_unknown() {
        let of = |name: &str| Name::of(OsStr::new(name));
        assert_eq!(of("ILSVRC2012_val_00000293.JPEG"), Name::Image(293));
        for name in ["ilsvrc2012_val_00000293.jpeg", "ILSVRC2012_val_293.jpg"] {
            assert_eq!(of(name), Name::Renamed(293), "{name}");
        }
        for name in [
            "ILSVRC2012_val_00000000.JPEG",
            "ILSVRC2012_val_.JPEG",
            "ILSVRC2012_val_99999999999.JPEG",
            "ILSVRC2012_val_00000293 (1).JPEG",
            "ILSVRC2012_test_00000293.JPEG",
            "n01440764",
        ] {
            assert_eq!(of(name), Name::Unknown, "{name}");
        }
        assert_eq!(of("._ILSVRC2012_val_00000293.JPEG"), Name::Hidden);
        let invalid = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.JPEG");
        assert_eq!(Name::of(invalid), Name::Unknown);
    }

    #[test]
    fn everything_but_the_images_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_1.JPEG", ".hidden", "a.txt"] {
            fs::write(at(name), "12345").unwrap();
        }
        fs::write(at("ILSVRC2012_val_00000007.JPEG"), "").unwrap();
        fs::write(at("ILSVRC2012_val_00000002.jpg"), "").unwrap();
        fs::create_dir(at("ILSVRC2012_val_00000003.JPEG")).unwrap();
        let target = at("ILSVRC2012_val_00000001.JPEG");
        std::os::unix::fs::symlink(target, at("ILSVRC2012_val_00000004.JPEG")).unwrap();
        let flat = Flat::read(folder.path(), 6).unwrap();
        assert_eq!(flat.sizes, BTreeMap::from([(1, 5)]));
        assert_eq!(flat.hidden, [".hidden"]);
        let found: Vec<_> = flat.findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "extra: ILSVRC2012_val_00000003.JPEG: is a folder",
                "extra: ILSVRC2012_val_00000004.JPEG: is a symbolic link",
                "extra: ILSVRC2012_val_00000007.JPEG: there are only 6 images",
                "extra: a.txt: is no name of a validation image",
                "renamed: ILSVRC2012_val_00000002.jpg: should be called \
                 ILSVRC2012_val_00000002.JPEG",
                "duplicate: ILSVRC2012_val_1.JPEG: ILSVRC2012_val_00000001.JPEG is there, too",
            ]
        );
    }
}
