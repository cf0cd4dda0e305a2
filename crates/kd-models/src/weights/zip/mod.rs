//! Zip archives as `torch.save` writes them, whose entries are stored plainly, and such archives zipped
//! anew, whose entries are deflated.
//!
//! Everything read is bounded by the file's length first; entries may not overlap, so that a
//! small file cannot stand for much data, and deflated ones are unpacked into a temporary file, of
//! at most so many times the archive's length. The checksums of all entries are verified.

mod directory;
mod unpack;

use std::collections::BTreeMap;

use kd_core::Result;

use super::source::Source;
use super::stored::Span;
use directory::{Header, number};

/// Fixed part of an entry's header.
const LOCAL: u64 = 30;

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// What stands for it in the file.
    span: Span,
    /// Bytes of its content.
    size: u64,
    crc32: u32,
    is_deflated: bool,
}

/// The entries of an archive, by name.
#[derive(Debug)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
}

/// Whether `start` (the first bytes of a file) may start a zip archive.
pub(super) fn recognizes(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06")
}

impl Archive {
    /// Reads the directory at the end of the file.
    pub(super) fn open(source: &Source) -> Result<Self> {
        let place = directory::find(source)?;
        let bytes = source.read(place.offset, place.n_bytes)?;
        let mut rest = &bytes[..];
        let mut entries = BTreeMap::new();
        while !rest.is_empty() {
            let at = place.offset + (bytes.len() - rest.len()) as u64;
            let header = directory::header(rest).map_err(|reason| source.fault(at, reason))?;
            rest = &rest[header.n_bytes..];
            let entry = locate(source, &header, place.offset)?;
            // Folders have no content.
            if header.name.ends_with('/') {
                continue;
            }
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
}

/// Where an entry's bytes lie, after its local header and before the directory.
fn locate(source: &Source, header: &Header, directory: u64) -> Result<Entry> {
    let local = source.read(header.offset, LOCAL)?;
    let field = |offset| number(&local, offset, 2).unwrap_or(0);
    let fault = |reason: &str| source.fault(header.offset, format!("`{}`: {reason}", header.name));
    let name = source.read(header.offset.saturating_add(LOCAL), field(26))?;
    let name = String::from_utf8_lossy(&name).replace('\\', "/");
    if !local.starts_with(b"PK\x03\x04") || name != header.name {
        return Err(fault("the entry is not where the directory says"));
    }
    let offset = header.offset + LOCAL + field(26) + field(28);
    let Header { size, n_stored, crc32, is_deflated, .. } = *header;
    match offset.checked_add(n_stored) {
        Some(end) if end <= directory => {
            let span = Span { offset, n_bytes: n_stored };
            Ok(Entry { span, size, crc32, is_deflated })
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
