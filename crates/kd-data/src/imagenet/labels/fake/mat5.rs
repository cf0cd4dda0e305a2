//! MAT-files of version 5, little-endian, with one compressed variable, as MATLAB 7 writes them.

use std::io::{self, Write};

use flate2::{Compression, write::ZlibEncoder};

/// Classes of arrays.
const STRUCT: u32 = 2;
const CHAR: u32 = 4;
const DOUBLE: u32 = 6;

/// Types of elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;

/// The file whose only variable is this array.
pub(super) fn file(variable: &[u8]) -> io::Result<Vec<u8>> {
    let mut file = format!("{:116}", "MATLAB 5.0 MAT-file, made up").into_bytes();
    file.extend([0; 8]);
    file.extend(0x0100_u16.to_le_bytes());
    file.extend(b"IM");
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(variable)?;
    let content = encoder.finish()?;
    file.extend(tag(COMPRESSED, content.len()));
    file.extend(content);
    Ok(file)
}

/// A column of structs, each with the values of all `fields`.
pub(super) fn structs(name: &str, fields: &[&str], rows: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let width = 32_i32;
    let names = fields.iter().flat_map(|field| format!("{field:\0<32}").into_bytes());
    let mut values = element(INT32, &width.to_le_bytes());
    values.extend(element(INT8, &names.collect::<Vec<_>>()));
    values.extend(rows.iter().flatten().flatten());
    array(STRUCT, [rows.len(), 1], name, &values)
}

/// A row of text.
pub(super) fn text(text: &str) -> Vec<u8> {
    array(CHAR, [1, text.chars().count()], "", &element(UTF8, text.as_bytes()))
}

/// A row of numbers, each stored in as few bytes as the largest needs.
pub(super) fn numbers(numbers: &[u32]) -> Vec<u8> {
    let dims = [usize::from(!numbers.is_empty()), numbers.len()];
    let bytes: Vec<_> = numbers.iter().map(|number| number.to_le_bytes()).collect();
    let (kind, width) = match numbers.iter().max().copied().unwrap_or(0) {
        0..0x100 => (UINT8, 1),
        0x100..0x1_0000 => (UINT16, 2),
        _ => (UINT32, 4),
    };
    let bytes: Vec<_> = bytes.iter().flat_map(|bytes| &bytes[..width]).copied().collect();
    array(DOUBLE, dims, "", &element(kind, &bytes))
}

fn array(class: u32, dims: [usize; 2], name: &str, values: &[u8]) -> Vec<u8> {
    let flags = [class.to_le_bytes(), [0; 4]].concat();
    let dims = dims.map(|dim| (dim as i32).to_le_bytes()).concat();
    let parts = [
        element(UINT32, &flags),
        element(INT32, &dims),
        element(INT8, name.as_bytes()),
        values.to_vec(),
    ];
    element(MATRIX, &parts.concat())
}

/// Filled up to a multiple of eight bytes; up to four bytes share the tag's eight.
fn element(kind: u32, bytes: &[u8]) -> Vec<u8> {
    let mut element = match bytes.len() {
        n @ 1..=4 => (kind | (n as u32) << 16).to_le_bytes().to_vec(),
        n => tag(kind, n).to_vec(),
    };
    element.extend(bytes);
    element.resize(element.len().next_multiple_of(8), 0);
    element
}

fn tag(kind: u32, size: usize) -> [u8; 8] {
    let mut tag = [0; 8];
    tag[..4].copy_from_slice(&kind.to_le_bytes());
    tag[4..].copy_from_slice(&(size as u32).to_le_bytes());
    tag
}
