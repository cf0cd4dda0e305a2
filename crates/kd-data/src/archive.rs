//! Known files out of a `.tar.gz`, without unpacking it.
//!
//! Key decision: nothing is ever written. Only regular files with the known names are read, into
//! memory, each bounded before it is allocated; an archive with links, devices or paths that
//! lead elsewhere is refused whole, because it is not the one that was asked for.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

use flate2::bufread::MultiGzDecoder;
use kd_core::{Error, Result, fsx};
use tar::EntryType;

/// Which files of an archive are wanted, and how large it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'n> {
    /// The folder in the archive that the files lie in, such as `a` or `a/b`.
    pub(crate) folder: &'static str,
    /// Names of the files.
    pub(crate) names: &'n [&'static str],
    /// The most bytes that one of them may have.
    pub(crate) max_file: u64,
    /// The most bytes that the decompressed archive may have. An entry has at least 512, so this
    /// bounds their number, too.
    pub(crate) max_total: u64,
}

/// The content of the wanted files of the archive at `path`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] when the archive is damaged, larger than it may be, lacks a
/// wanted file, or has an entry that such an archive does not have.
pub(crate) fn read(path: &Path, wanted: &Wanted<'_>) -> Result<BTreeMap<&'static str, Vec<u8>>> {
    let file = fsx::open(path, "it was there a moment ago")?;
    decode(path, BufReader::with_capacity(1 << 16, file), wanted)
}

/// As [`read`].
fn decode(
    path: &Path,
    reader: impl io::BufRead,
    wanted: &Wanted<'_>,
) -> Result<BTreeMap<&'static str, Vec<u8>>> {
    let limit = wanted.max_total;
    let mut archive = tar::Archive::new(MultiGzDecoder::new(reader).take(limit));
    let mut found = BTreeMap::new();
    // Raw: an entry that only describes the next one is not read, which could take any memory.
    let entries = archive.entries().map_err(damaged(path, 0, ".tar.gz"))?.raw(true);
    let mut position = 0;
    for entry in entries {
        let mut entry = entry.map_err(damaged(path, position, ".tar.gz"))?;
        position = entry.raw_header_position();
        let fault = |reason| Error::Parse { path: path.into(), offset: position, reason };
        let Some(name) = known_name(&entry, wanted).map_err(fault)? else { continue };
        let content = content(&mut entry, wanted.max_file).map_err(fault)?;
        if found.insert(name, content).is_some() {
            return Err(fault(format!("has {name} twice")));
        }
    }
    // To the end, which makes gzip verify its checksum.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(damaged(path, position, ".tar.gz"))?;
    let fault = |reason| Err(Error::Parse { path: path.into(), offset: position, reason });
    if rest.limit() == 0 {
        return fault(format!("has {limit} bytes or more, which no such archive has"));
    }
    match wanted.names.iter().find(|name| !found.contains_key(**name)) {
        Some(name) => fault(format!("has no {}/{name}; {AGAIN}", wanted.folder)),
        None => Ok(found),
    }
}

/// The wanted name that the entry has, if it is a file that has one; an error for an entry that
/// no data set needs.
fn known_name(
    entry: &tar::Entry<'_, impl Read>,
    wanted: &Wanted<'_>,
) -> std::result::Result<Option<&'static str>, String> {
    let path = entry.path().map_err(|error| format!("has an entry without a name: {error}"))?;
    let kind = entry.header().entry_type();
    if is_description(kind) {
        return Ok(None);
    }
    if !(kind.is_file() || kind.is_dir()) {
        return Err(format!("{} is neither file nor folder; do not use it", path.display()));
    }
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            _ => return Err(format!("{} leads out of the archive; do not use it", path.display())),
        }
    }
    let name = parts.pop().filter(|_| kind.is_file());
    let in_folder = parts.iter().copied().eq(wanted.folder.split('/').map(OsStr::new));
    let known = |known: &&&str| in_folder && name == Some(OsStr::new(**known));
    Ok(wanted.names.iter().find(known).copied())
}

/// Whether the entry only describes the next one, as writers of tar files add them.
pub(crate) fn is_description(kind: EntryType) -> bool {
    kind.is_pax_global_extensions()
        || kind.is_pax_local_extensions()
        || kind.is_gnu_longname()
        || kind.is_gnu_longlink()
}

fn content(
    entry: &mut tar::Entry<'_, impl Read>,
    limit: u64,
) -> std::result::Result<Vec<u8>, String> {
    let size = entry.size();
    if size > limit {
        return Err(format!("announces a file of {size} bytes, at most {limit} are read"));
    }
    let mut content = Vec::with_capacity(size as usize);
    entry.read_to_end(&mut content).map_err(|error| format!("damaged ({error}); {AGAIN}"))?;
    if content.len() as u64 != size {
        return Err(format!("cut off: {} of {size} bytes; {AGAIN}", content.len()));
    }
    Ok(content)
}

/// What to do about a damaged archive.
pub(crate) const AGAIN: &str = "get the archive again";

/// A failure to read what should be a `kind`, such as `.tar`: the archive's fault, unless the system
/// reports one.
pub(crate) fn damaged(path: &Path, offset: u64, kind: &str) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        if source.raw_os_error().is_some() {
            return Error::Io { path: path.into(), action: "read", source };
        }
        let reason = format!("damaged, or no {kind} at all ({source}); {AGAIN}");
        Error::Parse { path: path.into(), offset, reason }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const FOLDER: &str = "cifar-10-batches-bin";
    const NAME: &str = "test_batch.bin";
    const LIMIT: u64 = 1 << 20;
    const WANTED: Wanted<'static> =
        Wanted { folder: FOLDER, names: &[NAME], max_file: LIMIT, max_total: LIMIT };

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// An entry whose name is written as it is, also where it is a bad one.
    pub(crate) fn entry(name: &str, kind: EntryType, content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if kind.is_symlink() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
        [header.as_bytes(), content, &padding].concat()
    }

    pub(crate) fn file(name: &str, content: &[u8]) -> Vec<u8> {
        entry(&format!("{FOLDER}/{name}"), EntryType::Regular, content)
    }

    /// The archive of these entries.
    pub(crate) fn pack(entries: &[Vec<u8>]) -> Vec<u8> {
        gzip(&[&entries.concat()[..], &[0; 1024]].concat())
    }

    fn unpack(bytes: &[u8]) -> Result<BTreeMap<&'static str, Vec<u8>>> {
        decode(Path::new("a.tar.gz"), bytes, &WANTED)
    }

    fn fault(bytes: &[u8]) -> String {
        match unpack(bytes) {
            Err(Error::Parse { reason, .. }) => reason,
            other => panic!("not a parse error: {other:?}"),
        }
    }

    #[test]
    fn known_files_are_read_and_others_passed_over() {
        let archive = pack(&[
            entry("pax_global_header", EntryType::XGlobalHeader, b"52 comment=x"),
            entry("cifar-10-batches-bin/", EntryType::Directory, b""),
            file("readme.html", b"<html>"),
            file("data_batch_2.bin", b"not wanted"),
            entry("./cifar-10-batches-bin/test_batch.bin", EntryType::Regular, &[7; 1000]),
            entry("elsewhere/test_batch.bin", EntryType::Regular, b"another"),
            entry("cifar-10-batches-bin/a/test_batch.bin", EntryType::Regular, b"another"),
        ]);
        assert_eq!(unpack(&archive).unwrap(), BTreeMap::from([(NAME, vec![7; 1000])]));
        let reason = fault(&pack(&[file("data_batch_2.bin", b"")]));
        assert!(reason.contains("has no cifar-10-batches-bin/test_batch.bin"), "{reason}");
    }

    #[test]
    fn entries_that_such_an_archive_does_not_have_are_refused() {
        let good = file("test_batch.bin", b"test");
        let refused = |bad: Vec<u8>| fault(&pack(&[good.clone(), bad]));
        for name in ["../test_batch.bin", "cifar-10-batches-bin/../../x", "/etc/passwd"] {
            let reason = refused(entry(name, EntryType::Regular, b"x"));
            assert!(reason.contains("leads out of the archive"), "{reason}");
        }
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Char, EntryType::Fifo] {
            let reason = refused(entry("cifar-10-batches-bin/data_batch_1.bin", kind, b""));
            assert!(reason.contains("neither file nor folder"), "{reason}");
        }
        assert!(refused(good.clone()).contains("test_batch.bin twice"));
    }

    #[test]
    fn announced_sizes_are_bounded_before_anything_is_allocated() {
        let mut header = tar::Header::new_gnu();
        header.set_path("cifar-10-batches-bin/test_batch.bin").unwrap();
        header.set_entry_type(EntryType::Regular);
        header.set_size(1 << 50);
        header.set_cksum();
        let reason = fault(&gzip(header.as_bytes()));
        assert!(reason.contains("1125899906842624 bytes"), "{reason}");
    }

    #[test]
    fn a_gzip_bomb_is_read_up_to_the_bound() {
        let many = file("readme.html", &vec![0; 2 * LIMIT as usize]);
        let bomb = pack(&[file(NAME, b"test"), many]);
        assert!(bomb.len() < 1 << 14);
        assert!(fault(&bomb).contains("damaged"));
        let zeros = gzip(&[&file(NAME, b"test")[..], &vec![0; 2 * LIMIT as usize]].concat());
        assert!(fault(&zeros).contains("bytes or more"));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let archive = pack(&[file("test_batch.bin", &[5; 3073])]);
        for cut in 0..archive.len() {
            fault(&archive[..cut]);
        }
        let whole = unpack(&archive).unwrap();
        for bit in 10 * 8..archive.len() * 8 {
            let mut bytes = archive.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let result = unpack(&bytes);
            assert!(result.is_err() || result.unwrap() == whole, "bit {bit}");
        }
        assert!(fault(&[b'<'; 600]).contains("no .tar.gz at all"));
        assert!(fault(&[&archive[..], b"junk"].concat()).contains("damaged"));
    }
}
