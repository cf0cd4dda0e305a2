//! What is in an archive, without unpacking it.
//!
//! Key decision: an archive is listed to its end before anything is written, by its headers
//! alone. Only regular files with expected names are taken; files are later copied from where
//! they lie in the archive to names that we make ourselves, so that no path in it is ever used.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kd_core::{Error, Result, fsx};

use super::head;
use crate::archive::{self, AGAIN, is_description};
use crate::finding::{Fault, Finding};

/// The most entries that an archive may have.
const MAX_ENTRIES: usize = 4_000_000;

/// Where a file lies in an archive, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// A listed archive.
#[derive(Debug)]
pub(super) struct Tarball<K> {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Bytes of the archive.
    pub(super) size: u64,
    pub(super) members: BTreeMap<K, Member>,
    /// Entries that such an archive does not have.
    pub(super) findings: Vec<Finding>,
}

impl<K: Ord> Tarball<K> {
    /// Lists the archive at `path`, in which the files are expected for whose names there is a
    /// `key`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] when it is damaged, cut off or no archive.
    pub(super) fn open(path: &Path, key: impl Fn(&str) -> Option<K>) -> Result<Self> {
        let file = fsx::open(path, "it was there a moment ago")?;
        let size = file.metadata().map_err(Error::io(path, "read"))?.len();
        let (members, findings) = (BTreeMap::new(), Vec::new());
        let mut tarball = Self { path: path.into(), file, size, members, findings };
        tarball.list(key)?;
        Ok(tarball)
    }

    fn list(&mut self, key: impl Fn(&str) -> Option<K>) -> Result<()> {
        let file = self.file.try_clone().map_err(Error::io(&self.path, "read"))?;
        let mut archive = tar::Archive::new(file);
        // Raw: an entry that only describes the next one is not read, which could take any memory.
        let entries = archive.entries_with_seek().map_err(damaged(&self.path, 0))?.raw(true);
        let mut position = 0;
        for (i, entry) in entries.enumerate() {
            let entry = entry.map_err(damaged(&self.path, position))?;
            position = entry.raw_header_position();
            let member = Member { offset: entry.raw_file_position(), size: entry.size() };
            if member.offset.checked_add(member.size).is_none_or(|end| end > self.size) {
                let reason = format!("cut off in an entry of {} bytes; {AGAIN}", member.size);
                return Err(self.fault(position, reason));
            }
            if i == MAX_ENTRIES {
                return Err(self.fault(position, "has more than 4 million entries".into()));
            }
            self.take(name(&entry), member, &key);
        }
        Ok(())
    }

    fn take(&mut self, name: Named, member: Member, key: &impl Fn(&str) -> Option<K>) {
        let (name, fault) = match name {
            Named::Nothing => return,
            Named::File(name) => (name, "is no name that such an archive has"),
            Named::Other(name, fault) => {
                self.findings.push(Finding::new(Fault::Extra, name, fault));
                return;
            }
        };
        match key(&name).map(|key| self.members.entry(key)) {
            None => self.findings.push(Finding::new(Fault::Extra, name, fault)),
            Some(Entry::Occupied(_)) => {
                self.findings.push(Finding::new(Fault::Duplicate, name, "is in the archive twice"));
            }
            Some(Entry::Vacant(vacant)) => {
                vacant.insert(member);
            }
        }
    }

    fn fault(&self, offset: u64, reason: String) -> Error {
        Error::Parse { path: self.path.clone(), offset, reason }
    }
}

impl<K> Tarball<K> {
    /// Reads from `member` on; the reader's place is shared by all users of the archive.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn reader(&self, member: Member) -> Result<io::Take<&File>> {
        let start = io::SeekFrom::Start(member.offset);
        io::Seek::seek(&mut &self.file, start).map_err(Error::io(&self.path, "read"))?;
        Ok((&self.file).take(member.size))
    }

    /// Why `member` can be no image, if so.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn image_fault(&self, member: Member) -> Result<Option<&'static str>> {
        let mut bytes = [0; head::N_BYTES];
        let bytes = &mut bytes[..member.size.min(head::N_BYTES as u64) as usize];
        self.file.read_exact_at(bytes, member.offset).map_err(Error::io(&self.path, "read"))?;
        Ok(head::fault(member.size, bytes))
    }
}

/// What an entry of an archive is.
#[derive(Debug)]
pub(super) enum Named {
    /// A regular file of this name.
    File(String),
    /// The archive's own folder, or a description of the next entry: no file.
    Nothing,
    /// Something that does not belong there: its name and why.
    Other(String, &'static str),
}

/// What `entry` is; a leading `./` is no part of a name.
pub(super) fn name(entry: &tar::Entry<'_, impl Read>) -> Named {
    let path = entry.path_bytes();
    let name = String::from_utf8_lossy(path.strip_prefix(b"./").unwrap_or(&path)).into_owned();
    let kind = entry.header().entry_type();
    let own_folder = kind.is_dir() && (name.is_empty() || name == ".");
    if is_description(kind) || own_folder {
        return Named::Nothing;
    }
    let outside = name.starts_with('/') || name.split('/').any(|part| part == "..");
    match kind {
        _ if outside => Named::Other(name, "leads out of the archive"),
        _ if kind.is_file() => Named::File(name),
        _ if kind.is_dir() => Named::Other(name, "is a folder"),
        _ if kind.is_symlink() || kind.is_hard_link() => Named::Other(name, "is a link"),
        _ => Named::Other(name, "is no regular file"),
    }
}

/// A failure to read: the archive's fault, unless the system reports one.
pub(super) fn damaged(path: &Path, offset: u64) -> impl FnOnce(io::Error) -> Error {
    archive::damaged(path, offset, ".tar")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tar::EntryType;

    use super::*;
    use crate::archive::tests::entry;

    fn list(bytes: &[u8]) -> Result<Tarball<u32>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        fs::write(&path, bytes).unwrap();
        Tarball::open(&path, |name| name.strip_suffix(".JPEG")?.parse().ok())
    }

    #[test]
    fn files_are_found_where_they_lie() {
        let archive = [
            entry("pax_global_header", EntryType::XGlobalHeader, b"52 comment=x"),
            entry("./", EntryType::Directory, b""),
            entry("./7.JPEG", EntryType::Regular, b"\xff\xd8\xffseven"),
            entry("3.JPEG", EntryType::Regular, b"three"),
            vec![0; 1024],
        ];
        let tarball = list(&archive.concat()).unwrap();
        assert!(tarball.findings.is_empty(), "{:?}", tarball.findings);
        assert_eq!(tarball.members.keys().copied().collect::<Vec<_>>(), [3, 7]);
        let mut content = String::new();
        tarball.reader(tarball.members[&3]).unwrap().read_to_string(&mut content).unwrap();
        assert_eq!(content, "three");
        assert_eq!(tarball.image_fault(tarball.members[&7]).unwrap(), None);
        let fault = tarball.image_fault(tarball.members[&3]).unwrap();
        assert_eq!(fault, Some("is neither JPEG nor PNG"));
    }

    #[test]
    fn entries_that_do_not_belong_there_are_named() {
        let file = |name| entry(name, EntryType::Regular, b"x");
        let archive = [
            file("../1.JPEG"),
            file("/2.JPEG"),
            file("a/../../3.JPEG"),
            file("notes.txt"),
            file("4.JPEG"),
            file("./4.JPEG"),
            entry("5.JPEG", EntryType::Symlink, b""),
            entry("6.JPEG", EntryType::Link, b""),
            entry("7.JPEG", EntryType::Fifo, b""),
            entry("a/", EntryType::Directory, b""),
        ];
        let found = list(&archive.concat()).unwrap().findings;
        let words: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "extra: ../1.JPEG: leads out of the archive",
                "extra: /2.JPEG: leads out of the archive",
                "extra: a/../../3.JPEG: leads out of the archive",
                "extra: notes.txt: is no name that such an archive has",
                "duplicate: 4.JPEG: is in the archive twice",
                "extra: 5.JPEG: is a link",
                "extra: 6.JPEG: is a link",
                "extra: 7.JPEG: is no regular file",
                "extra: a/: is a folder",
            ]
        );
    }

    #[test]
    fn what_is_cut_off_or_no_archive_is_refused() {
        let files = (1..4).map(|i| entry(&format!("{i}.JPEG"), EntryType::Regular, &[7; 600]));
        let archive = files.collect::<Vec<_>>().concat();
        for cut in 1..archive.len() {
            // Between two entries an archive may end: then images are missing.
            match list(&archive[..cut]) {
                Ok(tarball) => assert_eq!(tarball.members.len(), cut.div_ceil(1536), "{cut}"),
                Err(Error::Parse { reason, .. }) => {
                    assert!(reason.contains(AGAIN), "{reason}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        let mut vast = entry("1.JPEG", EntryType::Regular, b"");
        vast[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
        let sum: u32 = vast[..148].iter().chain(&vast[156..512]).map(|&b| u32::from(b)).sum();
        vast[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 8 * 32).as_bytes());
        assert!(list(&vast).unwrap_err().to_string().contains("cut off"));
        let text = list(&[b'<'; 600]).unwrap_err().to_string();
        assert!(text.contains("no .tar at all"), "{text}");
    }
}
