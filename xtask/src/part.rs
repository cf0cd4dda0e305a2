//! A file that is being downloaded: `NAME.part`, which a later attempt goes on with.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::digest;
use crate::failure::{Failure, Result};

/// What has come so far, and its digest.
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    /// Bytes that have come.
    pub(crate) len: u64,
}

impl Part {
    /// Opens `NAME.part` beside `target`; what an earlier attempt left is kept.
    ///
    /// # Errors
    /// [`Code::CannotCreate`](crate::failure::Code::CannotCreate) or an I/O failure.
    pub(crate) fn open(target: &Path) -> Result<Self> {
        let mut name = target.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(Failure::io(&path, "create"))?;
        let mut hasher = Sha256::new();
        let len = std::io::copy(&mut file, &mut hasher).map_err(Failure::io(&path, "read"))?;
        Ok(Self { path, file, hasher, len })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// An I/O failure, such as of a full disk; what came before stays.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Failure::io(&self.path, "write"))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all that has come.
    ///
    /// # Errors
    /// An I/O failure.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(Failure::io(&self.path, "write"))?;
        self.hasher.reset();
        self.len = 0;
        Ok(())
    }

    /// SHA-256 of what has come, hexadecimal.
    pub(crate) fn sha256(&self) -> String {
        digest::hex(self.hasher.clone())
    }

    /// Gives the finished file its name.
    ///
    /// # Errors
    /// An I/O failure; then nothing stands under that name.
    pub(crate) fn finish(self, target: &Path) -> Result<()> {
        self.file.sync_all().map_err(Failure::io(&self.path, "write"))?;
        fs::rename(&self.path, target).map_err(Failure::io(target, "create"))?;
        let folder = target.parent().unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(Failure::io(folder, "sync"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        Part::open(&target).unwrap().append(b"con").unwrap();
        let mut part = Part::open(&target).unwrap();
        assert_eq!(part.len, 3);
        part.append(b"tent").unwrap();
        assert_eq!(part.sha256(), digest::of(b"content"));
        part.finish(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"content");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn restarts_from_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut part = Part::open(&dir.path().join("a")).unwrap();
        part.append(b"wrong and long").unwrap();
        part.restart().unwrap();
        part.append(b"right").unwrap();
        assert_eq!(part.sha256(), digest::of(b"right"));
        assert_eq!(fs::read(dir.path().join("a.part")).unwrap(), b"right");
    }

    #[test]
    fn a_folder_that_is_none_is_refused() {
        let failure = Part::open(Path::new("/dev/null/a")).err().unwrap();
        assert_eq!(failure.code(), 73);
    }
}
