//! The directory of a zip archive as `torch.save` writes it: entries are stored, not compressed.
//!
//! Everything read is bounded by the file's length first; entries may not overlap, so that a
//! small file cannot stand for much data. The checksums of all entries are verified.

use std::collections::BTreeMap;

use kd_core::Result;

use super::checked::Checked;
use super::source::Source;
use super::stored::Span;
use super::tree::check_name;

/// Bytes of the directory.
const MAX_DIRECTORY: u64 = 16 << 20;
/// The most entries: a storage each.
const MAX_ENTRIES: u64 = 100_000;
/// Fixed part of the end record, and the longest comment after it.
const END: u64 = 22;
const MAX_COMMENT: u64 = 0xffff;
/// Fixed parts of the 64-bit locator, of an entry's header, and of an entry in the directory.
const LOCATOR: u64 = 20;
const LOCAL: u64 = 30;
const CENTRAL: usize = 46;
/// A 32-bit field whose value stands in a 64-bit one elsewhere.
const ELSEWHERE: u64 = 0xffff_ffff;

#[derive(Debug, Clone, Copy)]
struct Entry {
    span: Span,
    crc32: u32,
}

/// The entries of an archive, by name.
#[derive(Debug)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
}

/// Whether `start` (the first bytes of a file) may start a zip archive.
pub(super) fn recognizes(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04")
}

impl Archive {
    /// Reads the directory at the end of the file.
    pub(super) fn open(source: &Source) -> Result<Self> {
        let directory = find_directory(source)?;
        let bytes = source.read(directory.offset, directory.n_bytes)?;
        let mut rest = &bytes[..];
        let mut entries = BTreeMap::new();
        while !rest.is_empty() {
            let at = directory.offset + (bytes.len() - rest.len()) as u64;
            let header = header(rest).map_err(|reason| source.fault(at, reason))?;
            rest = &rest[header.n_bytes..];
            let entry = locate(source, &header, directory.offset)?;
            if entries.insert(header.name, entry).is_some() {
                return Err(source.fault(at, "two entries of one name"));
            }
        }
        check_overlap(source, &entries)?;
        Ok(Self { entries })
    }

    /// Names and places of the entries, in the order of the names.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Span)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.span))
    }

    /// Where the entry `name` lies.
    pub(super) fn get(&self, name: &str) -> Option<Span> {
        self.entries.get(name).map(|entry| entry.span)
    }

    /// Compares the checksum of every entry with the recorded one.
    pub(super) fn verify(&self, source: &Source) -> Result<()> {
        for (name, Entry { span, crc32 }) in &self.entries {
            let mut hasher = crc32fast::Hasher::new();
            source.chunks(span.offset, span.n_bytes, |bytes| hasher.update(bytes))?;
            let got = hasher.finalize();
            if got != *crc32 {
                let reason = format!(
                    "damaged: `{name}` has CRC-32 {got:08x}, recorded is {crc32:08x} (or saved \
                     without checksums, by set_crc32_options(False))"
                );
                return Err(source.fault(span.offset, reason));
            }
        }
        Ok(())
    }
}

/// An entry as the directory describes it.
struct Header {
    name: String,
    crc32: u32,
    size: u64,
    /// Where its local header lies.
    offset: u64,
    /// Bytes of this description.
    n_bytes: usize,
}

/// Reads the end record, and the 64-bit one where it is needed.
fn find_directory(source: &Source) -> Result<Span> {
    let n = source.len().min(END + MAX_COMMENT);
    let start = source.len() - n;
    let tail = source.read(start, n)?;
    let last = tail.len().checked_sub(END as usize);
    let at = (0..=last.unwrap_or(0)).rev().find(|at| {
        let comment = tail.len().saturating_sub(at + END as usize) as u64;
        tail[*at..].starts_with(b"PK\x05\x06") && number(&tail, at + 20, 2) == Some(comment)
    });
    let cut = || source.fault(source.len(), "cut short: the zip archive has no directory");
    let at = at.filter(|_| last.is_some()).ok_or_else(cut)?;
    let end = start + at as u64;
    let field = |offset, n| number(&tail, at + offset, n).ok_or_else(cut);
    let (n_entries, n_bytes, offset) = (field(10, 2)?, field(12, 4)?, field(16, 4)?);
    let directory = match n_entries == 0xffff || n_bytes == ELSEWHERE || offset == ELSEWHERE {
        true => find_directory64(source, end)?,
        false => (n_entries, Span { offset, n_bytes }),
    };
    check_directory(source, directory, end)
}

fn find_directory64(source: &Source, end: u64) -> Result<(u64, Span)> {
    let fault = || source.fault(end, "no 64-bit directory where one should be");
    let locator = source.read(end.checked_sub(LOCATOR).ok_or_else(fault)?, LOCATOR)?;
    let at = number(&locator, 8, 8).filter(|_| locator.starts_with(b"PK\x06\x07"));
    let at = at.filter(|at| at.checked_add(56).is_some_and(|after| after <= end));
    let record = source.read(at.ok_or_else(fault)?, 56)?;
    let field = |offset| number(&record, offset, 8).ok_or_else(fault);
    if !record.starts_with(b"PK\x06\x06") {
        return Err(fault());
    }
    Ok((field(32)?, Span { n_bytes: field(40)?, offset: field(48)? }))
}

fn check_directory(source: &Source, (n_entries, span): (u64, Span), end: u64) -> Result<Span> {
    let ends_before = span.offset.checked_add(span.n_bytes).is_some_and(|after| after <= end);
    if !ends_before || span.n_bytes > MAX_DIRECTORY || n_entries > MAX_ENTRIES {
        let reason = format!("a directory of {n_entries} entries, {} bytes", span.n_bytes);
        return Err(source.fault(end, reason));
    }
    Ok(span)
}

/// The description of an entry at the start of `bytes`.
fn header(bytes: &[u8]) -> Checked<Header> {
    let field = |offset, n| number(bytes, offset, n).ok_or("the directory is cut short");
    if !bytes.starts_with(b"PK\x01\x02") {
        return Err("no entry of the directory where one should be".into());
    }
    let n_name = field(28, 2)? as usize;
    let n_extra = field(30, 2)? as usize;
    let n_bytes = CENTRAL + n_name + n_extra + field(32, 2)? as usize;
    let body = bytes.get(CENTRAL..n_bytes).ok_or("the directory is cut short")?;
    let (name, extra) = (&body[..n_name], &body[n_name..n_name + n_extra]);
    let name = std::str::from_utf8(name).map_err(|_| "a name that is not UTF-8")?;
    let name = check_name(name)?.to_owned();
    if field(8, 2)? & 1 != 0 || field(10, 2)? != 0 {
        return Err(format!("`{name}` is compressed or encrypted; torch.save stores plainly"));
    }
    let mut wide = wide_fields(extra);
    let mut wide_or = |value| match value {
        ELSEWHERE => wide.next().ok_or("a 64-bit field is missing"),
        value => Ok(value),
    };
    let size = wide_or(field(24, 4)?)?;
    let stored = wide_or(field(20, 4)?)?;
    let offset = wide_or(field(42, 4)?)?;
    if size != stored {
        return Err(format!("`{name}` has two sizes, {size} and {stored}"));
    }
    Ok(Header { name, crc32: field(16, 4)? as u32, size, offset, n_bytes })
}

/// The 64-bit fields among an entry's extra ones.
fn wide_fields(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut found = &[][..];
    while let (Some(id), Some(n)) = (number(extra, 0, 2), number(extra, 2, 2)) {
        let Some(body) = extra.get(4..4 + n as usize) else { break };
        if id == 1 {
            found = body;
        }
        extra = &extra[4 + n as usize..];
    }
    found.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Where an entry's bytes lie, after its local header and before the directory.
fn locate(source: &Source, header: &Header, directory: u64) -> Result<Entry> {
    let local = source.read(header.offset, LOCAL)?;
    let field = |offset| number(&local, offset, 2).unwrap_or(0);
    let fault = |reason: &str| source.fault(header.offset, format!("`{}`: {reason}", header.name));
    let name = source.read(header.offset + LOCAL, field(26))?;
    if !local.starts_with(b"PK\x03\x04") || name != header.name.as_bytes() {
        return Err(fault("the entry is not where the directory says"));
    }
    let offset = header.offset + LOCAL + field(26) + field(28);
    match offset.checked_add(header.size) {
        Some(end) if end <= directory => {
            let span = Span { offset, n_bytes: header.size };
            Ok(Entry { span, crc32: header.crc32 })
        }
        _ => Err(fault("the entry is longer than the file")),
    }
}

fn check_overlap(source: &Source, entries: &BTreeMap<String, Entry>) -> Result<()> {
    let mut spans: Vec<Span> = entries.values().map(|entry| entry.span).collect();
    spans.sort_by_key(|span| span.offset);
    let overlap = spans.windows(2).find(|two| two[0].offset + two[0].n_bytes > two[1].offset);
    match overlap {
        Some(two) => Err(source.fault(two[1].offset, "two entries overlap")),
        None => Ok(()),
    }
}

/// The little-endian number of `n` bytes at `offset`.
fn number(bytes: &[u8], offset: usize, n: usize) -> Option<u64> {
    let mut whole = [0; 8];
    whole[..n].copy_from_slice(bytes.get(offset..offset.checked_add(n)?)?);
    Some(u64::from_le_bytes(whole))
}
