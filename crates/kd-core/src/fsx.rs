//! Files that appear whole or not at all, and folders that one process works in at a time.

use std::fs::{self, File, TryLockError};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Writes `bytes` to `path`: to a temporary sibling, synced to disk, then renamed.
///
/// # Errors
/// [`Error::Io`]; `path` then keeps what it held before.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes).map_err(Error::io(path, "write")))
}

/// As [`write_atomic`], for what is too large to be in memory: `write` writes it, piece by piece.
///
/// # Errors
/// As [`write_atomic`]; those of `write`.
pub fn write_atomic_with(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let folder = parent(path);
    let mut file = builder().tempfile_in(folder).map_err(Error::io(path, "create"))?;
    let mut buffered = BufWriter::new(&mut file);
    write(&mut buffered)?;
    buffered.flush().map_err(Error::io(path, "write"))?;
    drop(buffered);
    file.as_file().sync_all().map_err(Error::io(path, "write"))?;
    file.persist(path).map_err(|e| Error::Io {
        path: path.into(),
        action: "rename",
        source: e.error,
    })?;
    sync_folder(folder)
}

/// Creates `path` with all of `bytes` in it, in one step that one process alone can succeed with, on shared
/// file systems too; false when there is such a file.
///
/// # Errors
/// [`Error::Io`].
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<bool> {
    let mut file = builder().tempfile_in(parent(path)).map_err(Error::io(path, "create"))?;
    file.write_all(bytes).map_err(Error::io(path, "write"))?;
    file.as_file().sync_all().map_err(Error::io(path, "write"))?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Error::io(path, "create")(e.error)),
    }
}

/// Creates `folder` and its parents.
///
/// # Errors
/// [`Error::Io`] when it cannot be created.
pub fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(folder, "create"))
}

/// Opens the file `path` for reading. What is no file is never waited for: a named pipe would keep
/// whoever opens it until somebody writes.
///
/// # Errors
/// [`Error::Missing`] (with `hint`), [`Error::Io`], or [`Error::Parse`] when it is no file.
pub fn open(path: &Path, hint: &str) -> Result<File> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { path: path.into(), hint: hint.into() },
        _ => Error::Io { path: path.into(), action: "open", source },
    };
    let kind = fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() { "a folder" } else { "a pipe or device" };
        let advice = if hint.is_empty() { String::new() } else { format!("; {hint}") };
        let reason = format!("not a file but {what}{advice}");
        return Err(Error::parse(path, reason));
    }
    File::open(path).map_err(failed)
}

/// Reads `path`, refusing more than `limit` bytes before anything is allocated.
///
/// # Errors
/// As [`open`]; [`Error::Parse`] when it is too large.
pub fn read_bounded(path: &Path, limit: u64, hint: &str) -> Result<Vec<u8>> {
    let file = open(path, hint)?;
    // Room for one byte more, or the end of the file would be found by doubling the memory.
    let size = file.metadata().map_or(0, |metadata| metadata.len()).min(limit);
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        let reason = format!("larger than the {limit} bytes that such a file may have");
        return Err(Error::Parse { path: path.into(), offset: limit, reason });
    }
    Ok(bytes)
}

/// As [`read_bounded`]; nothing where there is no such file.
///
/// # Errors
/// As [`read_bounded`].
pub fn read_if_there(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    use std::io::ErrorKind::NotADirectory;
    match read_bounded(path, limit, "") {
        Err(Error::Missing { .. }) => Ok(None),
        Err(Error::Io { source, .. }) if source.kind() == NotADirectory => Ok(None),
        read => read.map(Some),
    }
}

/// Removes the file `path`, if there is one.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(path, "remove")(error))
        }
        _ => Ok(()),
    }
}

/// The text that `bytes`, the content of `path`, say: UTF-8, or UTF-16 with a byte order mark, as
/// some editors and shells write it. The mark is left out.
///
/// # Errors
/// [`Error::Parse`] for what is neither.
pub fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    let fault = |offset: usize, reason: &str| {
        let reason = format!("{reason}; save the file as UTF-8");
        Error::Parse { path: path.into(), offset: offset as u64, reason }
    };
    let wide: Option<fn([u8; 2]) -> u16> = match bytes.as_slice() {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    };
    if let Some(unit) = wide {
        let units: Vec<u16> = bytes[2..].as_chunks().0.iter().map(|&pair| unit(pair)).collect();
        return String::from_utf16(&units).map_err(|_| fault(2, "is not the UTF-16 it begins as"));
    }
    let text = String::from_utf8(bytes);
    let mut text = text.map_err(|e| fault(e.utf8_error().valid_up_to(), "is not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// Syncs a folder, so that a rename in it survives a power cut.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io(folder, "sync"))
}

/// One process at a time in a folder: the file `.lock` in it is held until this is dropped, or
/// the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Locks `folder`, which must exist; the file holds our process id for others' messages.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has it; [`Error::Io`].
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(".lock");
        let own = std::process::id().to_string();
        loop {
            let file = try_lock(folder, &path)?;
            file.set_len(0).map_err(Error::io(&path, "write"))?;
            (&file).write_all(own.as_bytes()).map_err(Error::io(&path, "write"))?;
            // The last owner may have removed the file between our opening and locking it.
            if owner(&path) == own {
                return Ok(Self { file, path });
            }
        }
    }

    /// Gives the folder back and leaves no file in it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(self) -> Result<()> {
        let Self { file, path } = self;
        fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
        drop(file);
        Ok(())
    }
}

fn try_lock(folder: &Path, path: &Path) -> Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    let file = options.open(path).map_err(Error::io(path, "create"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let pid = owner(path).parse().unwrap_or(0);
            Err(Error::Busy { path: folder.into(), host: "this machine".into(), pid })
        }
        Err(TryLockError::Error(source)) => Err(Error::io(path, "lock")(source)),
    }
}

fn owner(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// SHA-256 of `bytes`, hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of the content of `path`, hexadecimal; the file may be larger than the memory.
///
/// # Errors
/// As [`open`]; [`Error::Io`].
pub fn sha256_of(path: &Path, hint: &str) -> Result<String> {
    let (mut file, mut hash) = (open(path, hint)?, Sha256::new());
    std::io::copy(&mut file, &mut hash).map_err(Error::io(path, "read"))?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
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

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for (path, words) in [
            (pipe.as_path(), "not a file but a pipe or device; give a file"),
            (&link, "not a file but a pipe or device; give a file"),
            (Path::new("/dev/zero"), "not a file but a pipe or device; give a file"),
            (folder.path(), "not a file but a folder; give a file"),
        ] {
            let error = read_bounded(path, 5, "give a file").unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_text() {
        let read = |bytes: &[u8]| text(Path::new("a"), bytes.to_vec());
        assert_eq!(read(b"a\r\nb").unwrap(), "a\r\nb");
        assert_eq!(read(b"\xef\xbb\xbfa\xc3\xa9").unwrap(), "a\u{e9}");
        assert_eq!(read(b"\xff\xfea\0\xe9\0").unwrap(), "a\u{e9}");
        assert_eq!(read(b"\xfe\xff\0a").unwrap(), "a");
        assert_eq!(read(b"").unwrap(), "");
        assert!(matches!(read(b"ab\xff"), Err(Error::Parse { offset: 2, .. })));
        assert!(matches!(read(b"\xff\xfe\x00\xd8"), Err(Error::Parse { offset: 2, .. })));
    }

    #[test]
    fn a_locked_folder_is_busy_until_it_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let own = std::process::id();
        for _ in 0..2 {
            let second = Lock::take(folder.path());
            assert!(matches!(second, Err(Error::Busy { pid, .. }) if pid == own), "{second:?}");
        }
        drop(lock);
        let lock = Lock::take(folder.path()).unwrap();
        lock.remove().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        Lock::take(folder.path()).unwrap();
        assert!(Lock::take(&folder.path().join("no")).is_err());
    }

    #[test]
    fn a_file_and_its_content_have_one_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"abc").unwrap();
        assert_eq!(sha256_of(&path, "").unwrap(), sha256(b"abc"));
        assert!(matches!(sha256_of(folder.path(), ""), Err(Error::Parse { .. })));
    }

    #[test]
    fn sha256_of_the_empty_string() {
        assert!(sha256(b"").starts_with("e3b0c44298fc1c14"));
    }
}
