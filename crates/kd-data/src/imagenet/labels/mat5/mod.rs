//! MAT-files of version 5, as MATLAB 5 to 7 write them: numbers, text, cells and structs.
//!
//! Key decision: strict and bounded. No size in the file is trusted: everything is a part of the
//! bytes that are there, nested arrays have a depth, compressed variables a size and a ratio,
//! and what is announced must be there exactly.
//!
//! What it deliberately does not do: complex and sparse arrays, objects, functions; files of
//! version 4 and 7.3 (HDF5). Offsets in faults are those of the file in which each compressed
//! variable is replaced by its content.
//!
//! Source: The MathWorks, *MAT-File Format* (R2014a).

mod array;
mod element;

use std::io::Read;

use flate2::bufread::ZlibDecoder;

pub(super) use self::array::{Array, Data, Struct};
use self::element::{Bytes, Order, kind};
use super::{Checked, Fault};

/// The most bytes that all variables of a file may have when they are decompressed; the
/// devkit's have one to two million.
const MAX_INFLATED: usize = 8 << 20;
/// How many times its size a compressed variable may have; headers of small arrays compress well.
const MAX_RATIO: usize = 256;
/// Bytes before the first variable.
const HEADER: usize = 128;

/// The variable called `name` of the MAT-file that `bytes` are.
///
/// # Errors
/// When the file is of another version or damaged, has no such variable or two, or when the
/// variable has parts of a class that is not read.
pub(super) fn variable(bytes: &[u8], name: &str) -> Checked<Array> {
    let (order, variables) = header(bytes)?;
    let mut rest = Bytes { bytes: variables, offset: HEADER as u64, order };
    let mut budget = MAX_INFLATED;
    let mut found = None;
    while !rest.bytes.is_empty() {
        let offset = rest.offset;
        let element = rest.element()?;
        let array = match element.kind {
            kind::MATRIX => array::named(element.body, name)?,
            kind::COMPRESSED => {
                let content = inflate(element.body, &mut budget)?;
                let mut content = Bytes { bytes: &content, offset, order };
                let body = content.element_of(kind::MATRIX, "a variable")?;
                content.end("a compressed variable")?;
                array::named(body, name)?
            }
            kind => {
                return Err(Fault::new(
                    offset,
                    format!("an element of type {kind}, not a variable"),
                ));
            }
        };
        if array.is_some() && std::mem::replace(&mut found, array).is_some() {
            return Err(Fault::new(offset, format!("has the variable {name} twice")));
        }
    }
    found.ok_or_else(|| Fault::new(0, format!("has no variable {name}")))
}

/// The byte order, and what follows the header.
fn header(bytes: &[u8]) -> Checked<(Order, &[u8])> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Err(Fault::new(bytes.len() as u64, "ends in the header of a MAT-file"));
    };
    let order = match &header[126..] {
        b"IM" => Order::Little,
        b"MI" => Order::Big,
        _ => return Err(Fault::new(126, "is no MAT-file of version 5")),
    };
    match order.word(&header[124..126]) {
        0x0100 => Ok((order, rest)),
        0x0200 => Err(Fault::new(
            124,
            "is a MAT-file of version 7.3, which is not read: save it with -v7",
        )),
        version => {
            Err(Fault::new(124, format!("is a MAT-file of version {version:#06x}, not 0x0100")))
        }
    }
}

/// Decompresses a variable, taking its size from the `budget`.
fn inflate(body: Bytes<'_>, budget: &mut usize) -> Checked<Vec<u8>> {
    let limit = body.bytes.len().saturating_mul(MAX_RATIO).min(*budget);
    let mut decoder = ZlibDecoder::new(body.bytes);
    let mut content = Vec::new();
    let read = decoder.by_ref().take(limit as u64 + 1).read_to_end(&mut content);
    read.map_err(|error| body.fault(format!("a compressed variable is damaged: {error}")))?;
    if content.len() > limit {
        let reason = format!("a compressed variable has more than the {limit} bytes that it may");
        return Err(body.fault(reason));
    }
    if decoder.total_in() != body.bytes.len() as u64 {
        return Err(body.fault("a compressed variable is followed by other bytes"));
    }
    *budget -= content.len();
    Ok(content)
}

#[cfg(test)]
mod tests;
