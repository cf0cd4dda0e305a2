//! Checksums of an archive's entries, and the content of deflated ones.

use std::io::{Read, Write};

use flate2::read::DeflateDecoder;
use kd_core::{Error, Result};

use super::super::source::Source;
use super::super::stored::Span;
use super::{Archive, Entry};

/// Bytes unpacked at a time.
const CHUNK: usize = 1 << 16;
/// What is unpacked may be so many times as long as the archive, and so much more: weights hardly
/// shrink, but for zeros.
const MAX_RATIO: u64 = 32;
const MAX_SMALL: u64 = 64 << 20;

impl Archive {
    /// The archive with plain entries only, whose checksums are right; and where they are: in the file
    /// itself, or unpacked in a temporary one.
    pub(in crate::weights) fn unpacked(self, source: Source) -> Result<(Source, Self)> {
        if self.entries.values().any(|entry| entry.is_deflated) {
            return self.unpack(&source);
        }
        for (name, entry) in &self.entries {
            let mut hasher = crc32fast::Hasher::new();
            source.chunks(entry.span.offset, entry.span.n_bytes, |bytes| hasher.update(bytes))?;
            check(&source, (name, entry), hasher.finalize())?;
        }
        Ok((source, self))
    }

    fn unpack(self, source: &Source) -> Result<(Source, Self)> {
        let total = self.entries.values().fold(0u64, |n, entry| n.saturating_add(entry.size));
        if total > source.len().saturating_mul(MAX_RATIO).saturating_add(MAX_SMALL) {
            let reason = format!(
                "{total} bytes when unpacked, many times as many as weights would have; unpack it, and \
                 zip it again with `zip -0`"
            );
            return Err(source.fault(0, reason));
        }
        let mut file = tempfile::tempfile().map_err(Error::io(source.path(), "unpack"))?;
        let mut entries = self.entries;
        let mut offset = 0;
        for (name, entry) in &mut entries {
            let crc32 = copy(source, (name, entry), &mut file)?;
            check(source, (name, entry), crc32)?;
            entry.span = Span { offset, n_bytes: entry.size };
            offset += entry.size;
        }
        Ok((Source::of(source.path(), file)?, Self { entries }))
    }
}

/// Writes the content of an entry to `out`; gives its checksum.
fn copy(source: &Source, (name, entry): (&str, &Entry), out: &mut impl Write) -> Result<u32> {
    let stored = source.reader(entry.span.offset, entry.span.n_bytes)?;
    let mut content: Box<dyn Read> = match entry.is_deflated {
        true => Box::new(DeflateDecoder::new(stored)),
        false => Box::new(stored),
    };
    let fault =
        |reason: &str| source.fault(entry.span.offset, format!("damaged: `{name}` {reason}"));
    let (mut hasher, mut left) = (crc32fast::Hasher::new(), entry.size);
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = content.read(&mut buffer).map_err(|_| fault("cannot be unpacked"))?;
        if n == 0 {
            break;
        }
        left = left.checked_sub(n as u64).ok_or_else(|| fault("is longer than recorded"))?;
        hasher.update(&buffer[..n]);
        out.write_all(&buffer[..n]).map_err(Error::io(source.path(), "unpack"))?;
    }
    match left {
        0 => Ok(hasher.finalize()),
        _ => Err(fault("is shorter than recorded")),
    }
}

fn check(source: &Source, (name, entry): (&str, &Entry), got: u32) -> Result<()> {
    let Entry { span, crc32, .. } = entry;
    if got == *crc32 {
        return Ok(());
    }
    let reason = format!(
        "damaged: `{name}` has CRC-32 {got:08x}, recorded is {crc32:08x} (or saved without checksums, \
         by set_crc32_options(False))"
    );
    Err(source.fault(span.offset, reason))
}
