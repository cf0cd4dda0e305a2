//! Free space, and which file system a place is on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kd_core::{Error, Result};

/// The file system's number.
pub(super) fn device(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).map_err(Error::io(path, "read"))?.dev())
}

/// Checks that `bytes` and 5 % more are free where `path` is, or will be.
///
/// # Errors
/// [`Error::Io`]: no space left, with both numbers.
pub(super) fn check(path: &Path, bytes: u64) -> Result<()> {
    let place = existing(path);
    let system =
        rustix::fs::statvfs(place).map_err(|error| Error::io(place, "read")(error.into()))?;
    require(path, bytes, system.f_bavail.saturating_mul(system.f_frsize))
}

/// The first of the folder and those above it that exists.
pub(super) fn existing(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."))
}

fn require(path: &Path, bytes: u64, free: u64) -> Result<()> {
    let needed = bytes.saturating_add(bytes / 20);
    if needed <= free {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let reason = format!("{:.1} GiB are needed, {:.1} GiB are free", gib(needed), gib(free));
    Err(Error::io(path, "write")(io::Error::new(io::ErrorKind::StorageFull, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_percent_more_must_be_free() {
        let path = Path::new("/");
        require(path, 100, 105).unwrap();
        let error = require(path, 2 << 30, 2 << 30).unwrap_err();
        assert!(matches!(&error, Error::Io { action: "write", source, .. }
            if source.kind() == io::ErrorKind::StorageFull));
        let words = "2.1 GiB are needed, 2.0 GiB are free";
        assert!(error.to_string().contains(words), "{error}");
        let folder = tempfile::tempdir().unwrap();
        check(&folder.path().join("not/yet"), 1).unwrap();
        check(folder.path(), u64::MAX).unwrap_err();
        assert_eq!(existing(&folder.path().join("not/yet")), folder.path());
    }
}
