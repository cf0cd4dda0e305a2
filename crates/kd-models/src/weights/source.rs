//! A file that is read in pieces, each checked against the file's length before it is allocated.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};
use sha2::{Digest, Sha256};

/// Bytes read at a time where a whole file is only looked at.
const CHUNK: usize = 1 << 16;

/// An open file of weights.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = fsx::open(path, "give a safetensors file or a PyTorch checkpoint")?;
        Self::of(path, file)
    }

    /// What `file` holds, which faults say is in `path`.
    pub(super) fn of(path: &Path, file: File) -> Result<Self> {
        let metadata = file.metadata().map_err(Error::io(path, "read"))?;
        Ok(Self { path: path.into(), file, len: metadata.len() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// An [`Error::Parse`] at byte `offset`.
    pub(super) fn fault(&self, offset: u64, reason: impl Into<String>) -> Error {
        Error::Parse { path: self.path.clone(), offset, reason: reason.into() }
    }

    /// `n` bytes from `offset`.
    pub(crate) fn read(&self, offset: u64, n: u64) -> Result<Vec<u8>> {
        let size = usize::try_from(n).ok();
        match (size, offset.checked_add(n)) {
            (Some(size), Some(end)) if end <= self.len => {
                let mut bytes = vec![0; size];
                self.fill(offset, &mut bytes)?;
                Ok(bytes)
            }
            _ => Err(self.fault(offset, format!("cut short: {n} bytes should follow"))),
        }
    }

    /// Calls `each` with the bytes `offset..offset + n`, in order and in pieces.
    pub(super) fn chunks(&self, offset: u64, n: u64, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut at = offset;
        let end = offset.saturating_add(n).min(self.len);
        while at < end {
            let size = usize::try_from(end - at).map_or(CHUNK, |left| left.min(CHUNK));
            self.fill(at, &mut buffer[..size])?;
            each(&buffer[..size]);
            at += size as u64;
        }
        Ok(())
    }

    /// The bytes `offset..offset + n`, one after the other.
    pub(super) fn reader(&self, offset: u64, n: u64) -> Result<impl Read> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset)).map_err(Error::io(&self.path, "read"))?;
        Ok(file.take(n))
    }

    /// Compares the file with the start of its SHA-256 in its name, where it has one.
    pub(super) fn verify_name(&self) -> Result<()> {
        let Some(expected) = digest_in_name(&self.path) else { return Ok(()) };
        let got = self.sha256()?;
        if got.starts_with(expected) {
            return Ok(());
        }
        let got = got[..expected.len()].to_owned();
        let reason = format!(
            "damaged: its name says that its sha256 starts with {expected}, but that is {got}; \
             rename it if these digits are no checksum"
        );
        Err(self.fault(0, reason))
    }

    fn sha256(&self) -> Result<String> {
        let mut digest = Sha256::new();
        self.chunks(0, self.len, |bytes| digest.update(bytes))?;
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(buffer))
            .map_err(Error::io(&self.path, "read"))
    }
}

/// `12fca82f` of `resnet20-12fca82f.th`: at least 8 hexadecimal digits, not all of them decimal
/// (that would be a date).
fn digest_in_name(path: &Path) -> Option<&str> {
    let (_, digits) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_digest = (8..=64).contains(&digits.len()) && digits.bytes().all(hex);
    (is_digest && digits.bytes().any(|byte| byte.is_ascii_lowercase())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_checksum_are_recognized() {
        let digest = |name| digest_in_name(Path::new(name));
        assert_eq!(digest("a/resnet20-12fca82f.th"), Some("12fca82f"));
        assert_eq!(digest("net-0.5-12fca82f00.pth"), Some("12fca82f00"));
        for name in ["resnet20.th", "net-20240131.pt", "net-12FCA82F.pt", "net-abc.pt", "-.pt"] {
            assert_eq!(digest(name), None, "{name}");
        }
    }
}
