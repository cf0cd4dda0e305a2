//! Where the directory of a zip archive lies, and what it says of each entry.

use kd_core::Result;

use super::super::checked::Checked;
use super::super::source::Source;
use super::super::stored::Span;
use super::super::tree::check_name;

/// Bytes of the directory.
const MAX_DIRECTORY: u64 = 16 << 20;
/// The most entries: a storage each.
const MAX_ENTRIES: u64 = 100_000;
/// Fixed part of the end record, and the longest comment after it.
const END: u64 = 22;
const MAX_COMMENT: u64 = 0xffff;
/// Fixed parts of the 64-bit locator, and of an entry in the directory.
const LOCATOR: u64 = 20;
const CENTRAL: usize = 46;
/// A 32-bit field whose value stands in a 64-bit one elsewhere.
const ELSEWHERE: u64 = 0xffff_ffff;

/// An entry as the directory describes it.
pub(super) struct Header {
    pub(super) name: String,
    pub(super) crc32: u32,
    /// Bytes of the content.
    pub(super) size: u64,
    /// Bytes of what stands for it in the file.
    pub(super) n_stored: u64,
    pub(super) is_deflated: bool,
    /// Where its local header lies.
    pub(super) offset: u64,
    /// Bytes of this description.
    pub(super) n_bytes: usize,
}

/// Reads the end record, and the 64-bit one where it is needed.
pub(super) fn find(source: &Source) -> Result<Span> {
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
        true => find64(source, end)?,
        false => (n_entries, Span { offset, n_bytes }),
    };
    check_directory(source, directory, end)
}

fn find64(source: &Source, end: u64) -> Result<(u64, Span)> {
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
pub(super) fn header(bytes: &[u8]) -> Checked<Header> {
    let field = |offset, n| number(bytes, offset, n).ok_or("the directory is cut short");
    if !bytes.starts_with(b"PK\x01\x02") {
        return Err("no entry of the directory where one should be".into());
    }
    let n_name = field(28, 2)? as usize;
    let n_extra = field(30, 2)? as usize;
    let n_bytes = CENTRAL + n_name + n_extra + field(32, 2)? as usize;
    let body = bytes.get(CENTRAL..n_bytes).ok_or("the directory is cut short")?;
    let (name, extra) = (&body[..n_name], &body[n_name..n_name + n_extra]);
    // Windows may write backslashes.
    let name = String::from_utf8_lossy(name).replace('\\', "/");
    check_name(&name)?;
    if field(8, 2)? & 1 != 0 {
        return Err(format!("`{name}` is encrypted"));
    }
    let is_deflated = match field(10, 2)? {
        0 => false,
        8 => true,
        n => {
            return Err(format!(
                "`{name}` is compressed by method {n}; unpack it, and zip it again"
            ));
        }
    };
    let mut wide = wide_fields(extra);
    let mut wide_or = |value| match value {
        ELSEWHERE => wide.next().ok_or("a 64-bit field is missing"),
        value => Ok(value),
    };
    let size = wide_or(field(24, 4)?)?;
    let n_stored = wide_or(field(20, 4)?)?;
    let offset = wide_or(field(42, 4)?)?;
    if size != n_stored && !is_deflated {
        return Err(format!("`{name}` has two sizes, {size} and {n_stored}"));
    }
    Ok(Header { name, crc32: field(16, 4)? as u32, size, n_stored, is_deflated, offset, n_bytes })
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

/// The little-endian number of `n` bytes at `offset`.
pub(super) fn number(bytes: &[u8], offset: usize, n: usize) -> Option<u64> {
    let mut whole = [0; 8];
    whole[..n].copy_from_slice(bytes.get(offset..offset.checked_add(n)?)?);
    Some(u64::from_le_bytes(whole))
}
