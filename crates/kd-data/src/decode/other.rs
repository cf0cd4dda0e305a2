//! What a file is that is no picture of a format that is read, and what to do about it.

use super::Fault;

/// First bytes, and what they mean.
const KNOWN: [(&[u8], &str); 12] = [
    (b"version https://git-lfs", "is a Git LFS pointer, not the picture: run `git lfs pull`"),
    (b"<!doctype html", "is a web page, not the picture: download it again"),
    (b"<html", "is a web page, not the picture: download it again"),
    (b"<?xml", "is an XML or SVG file; save the picture as PNG"),
    (b"<svg", "is an SVG file; save it as PNG"),
    (b"%pdf", "is a PDF file; save its pictures as PNG"),
    (b"8bps", "is a Photoshop file; save it as PNG"),
    (b"pk\x03\x04", "is a zip file; unpack it"),
    (b"\x1f\x8b", "is a gzip file; unpack it"),
    (b"\0\0\x01\0", "is an icon; save it as PNG"),
    (b"\0\0\0\x0cjp  ", "is a JPEG 2000 file; save it as JPEG or PNG"),
    (b"\xff\x0a", "is a JPEG XL file; save it as JPEG or PNG"),
];

/// Brands of the container of HEIC and AVIF.
const BRANDS: [(&[u8], &str); 4] =
    [(b"avif", "AVIF"), (b"avis", "AVIF"), (b"heic", "HEIC"), (b"mif1", "HEIC")];

/// Says what `bytes` are, which are none of the formats that are read.
pub(super) fn what(bytes: &[u8]) -> Fault {
    if bytes.is_empty() {
        return "is empty, has no bytes; copy or download it again".into();
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let begins = |bytes: &[u8], start: &[u8]| {
        bytes.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    let known = KNOWN.iter().find(|(start, _)| begins(bytes, start) || begins(text, start));
    if let Some((_, what)) = known {
        return (*what).into();
    }
    let brand = bytes.get(4..12).and_then(|head| head.strip_prefix(b"ftyp"));
    match BRANDS.iter().find(|(start, _)| brand == Some(*start)) {
        Some((_, name)) => format!("is a picture of the format {name}; save it as JPEG or PNG"),
        None => "is no JPEG, PNG, BMP, GIF, PPM, TIFF or WebP file".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_in_place_of_a_picture_is_named() {
        for (bytes, words) in [
            (&b""[..], "is empty"),
            (b"\r\n<!DOCTYPE html><html>", "a web page"),
            (b"\xef\xbb\xbf<HTML>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid", "`git lfs pull`"),
            (b"\0\0\0\x1cftypavif\0", "AVIF; save it as JPEG or PNG"),
            (b"\0\0\0\x18ftypheic\0", "HEIC"),
            (b"PK\x03\x04", "a zip file"),
            (b"%PDF-1.4", "a PDF file"),
            (b"<", "is no JPEG, PNG"),
            (b"text", "is no JPEG, PNG"),
        ] {
            assert!(what(bytes).contains(words), "{words}: {}", what(bytes));
        }
    }
}
