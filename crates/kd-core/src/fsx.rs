//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Writes `bytes` to `path`: to a temporary sibling, synced to disk, then renamed.
///
/// # Errors
/// [`Error::Io`]; `path` then keeps what it held before.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = parent(path);
    let mut file = builder().tempfile_in(folder).map_err(Error::io(path, "create"))?;
    file.write_all(bytes).map_err(Error::io(path, "write"))?;
    file.as_file().sync_all().map_err(Error::io(path, "write"))?;
    file.persist(path).map_err(|e| Error::Io {
        path: path.into(),
        action: "rename",
        source: e.error,
    })?;
    sync_folder(folder)
}

/// Creates `folder` and its parents.
///
/// # Errors
/// [`Error::Io`] when it cannot be created.
pub fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(folder, "create"))
}

/// Reads `path`, refusing more than `limit` bytes before anything is allocated.
///
/// # Errors
/// [`Error::Missing`] (with `hint`), [`Error::Io`], or [`Error::Parse`] when it is too large.
pub fn read_bounded(path: &Path, limit: u64, hint: &str) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { path: path.into(), hint: hint.into() },
        _ => Error::Io { path: path.into(), action: "open", source },
    })?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        let reason = format!("larger than the {limit} bytes that such a file may have");
        return Err(Error::Parse { path: path.into(), offset: limit, reason });
    }
    Ok(bytes)
}

/// Syncs a folder, so that a rename in it survives a power cut.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io(folder, "sync"))
}

/// SHA-256 of `bytes`, hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Temporary files are their owner's alone; what we write is for all whom the umask allows.
fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(write_atomic(&folder.path().join("no/such/a"), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn permissions_are_those_of_any_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        write_atomic(&a, b"").unwrap();
        fs::write(&b, b"").unwrap();
        let permissions = |path| fs::metadata(path).unwrap().permissions();
        assert_eq!(permissions(&a), permissions(&b));
    }

    #[test]
    fn reading_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5, "").unwrap(), b"12345");
        assert!(matches!(read_bounded(&path, 4, ""), Err(Error::Parse { offset: 4, .. })));
        let missing = read_bounded(&folder.path().join("b"), 4, "download it");
        assert!(matches!(missing, Err(Error::Missing { .. })));
    }

    #[test]
    fn sha256_of_the_empty_string() {
        assert!(sha256(b"").starts_with("e3b0c44298fc1c14"));
    }
}
