//! The SHA-256 of each image, in the file `SHA256SUMS` beside the class folders.
//!
//! A photograph does not tell whether it is as it was: of 1000 bits flipped in photographs of
//! ImageNet, 18 made a JPEG file that is refused; the others decoded. With this file in the folder
//! every image is compared with its line whenever it is read. For a photograph of 110 kB that takes
//! 0.08 ms, by a processor with instructions for SHA-256, and to decode it 1.8 ms.
//!
//! Key decision: the format is that of the program `sha256sum`, a line `HEX  CLASS/FILE` for each
//! image, so that either program checks what the other wrote. Each image must have one line, and
//! each line an image, or the folder is not read: a list with gaps would let through what it
//! is there to find.
//!
//! Lines for files that are no pictures, as `sha256sum */*` writes them, are passed over.
//!
//! What it deliberately does not do: names with a backslash or a line break, for which `sha256sum`
//! has a syntax of its own, are refused.

mod checksums;
pub(crate) mod digests;

use std::path::Path;

use kd_core::record::DataFile;
use kd_core::{Error, Result, fsx};

pub use self::checksums::{Checksums, Summed};
pub(crate) use self::digests::{DIFFERS, REMEDY, SUMS, Sums};
use self::digests::{Digest, hex};

use crate::listing::{Listing, is_picture};

/// The most bytes of the file; 4 million lines have about half of it.
const MAX_SUMS: u64 = 1 << 30;
/// The most bytes of a line; the names of class and file have at most 255 each on most systems.
const MAX_LINE: usize = 2048;

/// With the reason why a line is none.
type Parsed<T> = std::result::Result<T, String>;

/// Lists `folder`, and reads the checksums in it if there are any.
///
/// # Errors
/// As [`Listing::names`]; [`Error::Parse`], with the number of the line, for what is no line of
/// checksums, is a second one for an image, or one for no image, and when an image has none.
pub(crate) fn listing(folder: &Path) -> Result<Listing> {
    let mut listing = Listing::names(folder)?;
    listing.sums = read(&listing)?;
    Ok(listing)
}

/// The file beside the class folders of `listing`; nothing where there is none.
fn read(listing: &Listing) -> Result<Option<Sums>> {
    let path = listing.folder.join(SUMS);
    if !path.is_file() {
        return Ok(None);
    }
    let Found { digests, strays, end } = Found::read(listing)?;
    if let Some((place, name)) = strays.first() {
        let reason = format!("{name:?} is no image that is there; restore it, or {REMEDY}");
        return Err(place.fault(listing, &reason));
    }
    let digest = |(i, digest): (usize, Option<Digest>)| {
        let reason = || format!("has no line for {}; {REMEDY}", listing.name(i));
        let fault = || Error::Parse { path: path.clone(), offset: end, reason: reason() };
        digest.ok_or_else(fault)
    };
    let digests: Result<_> = digests.into_iter().enumerate().map(digest).collect();
    digests.map(|digests| Some(Sums(digests)))
}

/// One digest for all images of `listing`: of the lines as [`Checksums`] writes them.
pub(crate) fn file(sums: &Sums, listing: &Listing) -> DataFile {
    let line = |(i, digest): (usize, &Digest)| line(&hex(digest), &listing.name(i));
    listing.identity(sums.0.iter().enumerate().map(line))
}

/// The line of the image `name` = `CLASS/FILE`.
pub(crate) fn line(hex: &str, name: &str) -> String {
    format!("{hex}  {name}\n")
}

/// The lines of the file, by the images that they name.
struct Found {
    /// Of each image of the listing.
    digests: Vec<Option<Digest>>,
    /// Names that are none of the listing.
    strays: Vec<(Place, String)>,
    /// Bytes of the file.
    end: u64,
}

impl Found {
    /// As [`read`], but that lines and images need not belong together, and
    /// [`Error::Missing`] where there is no file.
    fn read(listing: &Listing) -> Result<Self> {
        let hint = "`kd data sums` writes it";
        let path = listing.folder.join(SUMS);
        let bytes = fsx::read_bounded(&path, MAX_SUMS, hint)?;
        let bytes = match bytes.as_slice() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => fsx::text(&path, bytes)?.into_bytes(),
            _ => bytes,
        };
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let (digests, strays) = (vec![None; listing.files.len()], Vec::new());
        let mut found = Self { digests, strays, end: (bytes.len() - text.len()) as u64 };
        for (number, line) in (1..).zip(text.split_inclusive(|&byte| byte == b'\n')) {
            let place = Place { number, offset: found.end };
            found.add(listing, place, line).map_err(|reason| place.fault(listing, &reason))?;
            found.end += line.len() as u64;
        }
        Ok(found)
    }

    fn add(&mut self, listing: &Listing, place: Place, line: &[u8]) -> Parsed<()> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (digest, name) = parse(line.strip_suffix(b"\r").unwrap_or(line))?;
        match listing.find(name) {
            // What was passed over may have a line as well, and so may the list of annotations.
            None if !is_picture(name) => {}
            None => self.strays.push((place, name.into())),
            Some(i) if self.digests[i].is_none() => self.digests[i] = Some(digest),
            Some(_) => return Err(format!("{name:?} a second time")),
        }
        Ok(())
    }
}

/// Where a line is: its number, counted from 1, and the byte at which it begins.
#[derive(Debug, Clone, Copy)]
struct Place {
    number: usize,
    offset: u64,
}

impl Place {
    fn fault(self, listing: &Listing, reason: &str) -> Error {
        let reason = format!("line {}: {reason}", self.number);
        Error::Parse { path: listing.folder.join(SUMS), offset: self.offset, reason }
    }
}

/// Digest and name of a line without its end. Before a name is a second space, or an asterisk as
/// `sha256sum --binary` writes it, and maybe `./`, as after `find`.
fn parse(line: &[u8]) -> Parsed<(Digest, &str)> {
    if line.len() > MAX_LINE {
        return Err(format!("is longer than {MAX_LINE} bytes"));
    }
    let form = "is not 64 digits 0-9 and a-f, two spaces and CLASS/FILE, as `sha256sum` writes it";
    let (hex, name) = line.split_at_checked(64).ok_or(form)?;
    let name = name.strip_prefix(b"  ").or_else(|| name.strip_prefix(b" *")).ok_or(form)?;
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8")?;
    let name = name.strip_prefix("./").unwrap_or(name);
    Ok((digest(hex).ok_or(form)?, name))
}

/// Of 64 digits, all of lower or all of upper case, so that no changed bit goes unnoticed.
fn digest(hex: &[u8]) -> Option<Digest> {
    let mut digest = [0; 32];
    let lower = hex.to_ascii_lowercase();
    let hex = if hex.to_ascii_uppercase() == hex { &lower } else { hex };
    for (byte, [high, low]) in digest.iter_mut().zip(hex.as_chunks().0) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(digest)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
