//! Whether a file can be an image at all, by its size and first bytes.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use kd_core::{Error, Result};
use rayon::prelude::*;

use crate::finding::{Fault, Finding};

/// How many first bytes are looked at.
pub(super) const N_BYTES: usize = 8;
/// The most bytes that an image may have; the largest of ImageNet have 15 million.
pub(super) const MAX_IMAGE: u64 = 64 << 20;

/// What is wrong with an image of `size` bytes that begins with `head`.
///
/// One of ImageNet's JPEGs is a PNG by content, and taken as it is.
pub(super) fn fault(size: u64, head: &[u8]) -> Option<&'static str> {
    let is_image = head.starts_with(b"\xff\xd8\xff") || head.starts_with(b"\x89PNG\r\n\x1a\n");
    match size {
        0 => Some("has no bytes"),
        _ if size > MAX_IMAGE => Some("is larger than any image"),
        _ if !is_image => Some("is neither JPEG nor PNG"),
        _ => None,
    }
}

/// The faults of these files, given with the names to report them by.
///
/// # Errors
/// [`Error::Io`] when one cannot be read.
pub(super) fn check_files(files: &[(String, PathBuf)]) -> Result<Vec<Finding>> {
    let check = |(name, path): &(String, PathBuf)| -> Result<Option<Finding>> {
        Ok(check_file(path)?.map(|detail| Finding::new(Fault::Corrupt, name, detail)))
    };
    let found: Result<Vec<_>> = files.par_iter().map(check).collect();
    Ok(found?.into_iter().flatten().collect())
}

/// Follows a link, and opens nothing but a regular file.
fn check_file(path: &Path) -> Result<Option<&'static str>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Some("is a link to nothing"));
        }
        other => other.map_err(Error::io(path, "read"))?,
    };
    if !metadata.is_file() {
        return Ok(Some("is a link to no regular file"));
    }
    let mut head = Vec::with_capacity(N_BYTES);
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    file.take(N_BYTES as u64).read_to_end(&mut head).map_err(Error::io(path, "read"))?;
    Ok(fault(metadata.len(), &head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_by_their_first_bytes() {
        assert_eq!(fault(9, b"\xff\xd8\xff\xe0abcd"), None);
        assert_eq!(fault(9, b"\x89PNG\r\n\x1a\n"), None);
        assert_eq!(fault(0, b""), Some("has no bytes"));
        assert_eq!(fault(2, b"\xff\xd8"), Some("is neither JPEG nor PNG"));
        assert_eq!(fault(9, b"<html>40"), Some("is neither JPEG nor PNG"));
        assert_eq!(fault(MAX_IMAGE + 1, b"\xff\xd8\xff"), Some("is larger than any image"));
    }

    #[test]
    fn links_are_followed_and_nothing_else_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), b"\xff\xd8\xff").unwrap();
        for (target, link) in [("file", "good"), ("no", "broken"), (".", "folder")] {
            std::os::unix::fs::symlink(at(target), at(link)).unwrap();
        }
        let files = ["file", "good", "broken", "folder"].map(|name| (name.to_owned(), at(name)));
        let found = check_files(&files).unwrap();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        let broken = "corrupt: broken: is a link to nothing";
        assert_eq!(found, [broken, "corrupt: folder: is a link to no regular file"]);
    }
}
