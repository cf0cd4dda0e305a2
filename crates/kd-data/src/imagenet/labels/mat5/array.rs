//! Arrays: numbers, text, cells and structs, nested.

use super::Checked;
use super::element::{Bytes, Element, Order, kind};

/// The most arrays that may lie in one another.
const MAX_DEPTH: usize = 8;
/// The most dimensions.
const MAX_DIMS: usize = 32;
/// Bit of an array's flags: it has imaginary parts.
const COMPLEX: u32 = 1 << 11;

/// Values, with their dimensions; the first dimension varies fastest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
}

/// The values of an array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Numbers(Vec<f64>),
    Text(String),
    Cells(Vec<Array>),
    Struct(Struct),
}

/// An array of structs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Struct {
    pub(crate) fields: Vec<String>,
    /// All fields of the first struct, then those of the second, and so on.
    pub(crate) values: Vec<Array>,
}

/// What stands before an array's values.
struct Head {
    class: u32,
    dims: Vec<usize>,
    /// Product of the dimensions.
    n: usize,
}

/// The array in `body`, if this is its variable's name.
pub(super) fn named(mut body: Bytes<'_>, name: &str) -> Checked<Option<Array>> {
    let (head, own_name) = head(&mut body)?;
    if own_name == name.as_bytes() { array(head, body, 1).map(Some) } else { Ok(None) }
}

/// The next element, which is an array; one without any bytes is empty.
fn nested(rest: &mut Bytes<'_>, depth: usize) -> Checked<Array> {
    let mut body = rest.element_of(kind::MATRIX, "an array")?;
    if body.bytes.is_empty() {
        return Ok(Array { dims: vec![0, 0], data: Data::Numbers(Vec::new()) });
    }
    if depth == MAX_DEPTH {
        return Err(body.fault(format!("more than {MAX_DEPTH} arrays in one another")));
    }
    let (head, _) = head(&mut body)?;
    array(head, body, depth + 1)
}

/// What stands before the values, and the array's name.
fn head<'b>(body: &mut Bytes<'b>) -> Checked<(Head, &'b [u8])> {
    let flags = body.element_of(kind::UINT32, "flags of an array")?;
    if flags.bytes.len() != 8 {
        return Err(flags.fault("flags of an array are 8 bytes"));
    }
    let flag = flags.order.word(&flags.bytes[..4]) as u32;
    if flag & COMPLEX != 0 {
        return Err(flags.fault("complex numbers, which are not read"));
    }
    let dims = body.element_of(kind::INT32, "dimensions of an array")?;
    let (dims, n) = dimensions(dims)?;
    let name = body.element_of(kind::INT8, "name of an array")?;
    Ok((Head { class: flag & 0xff, dims, n }, name.bytes))
}

/// The dimensions and their product.
fn dimensions(body: Bytes<'_>) -> Checked<(Vec<usize>, usize)> {
    let words = body.bytes.chunks_exact(4);
    let whole = words.remainder().is_empty() && (2..=MAX_DIMS).contains(&words.len());
    let dims: Vec<_> = words.map(|word| body.order.word(word) as usize).collect();
    let n = dims.iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim));
    match n.filter(|_| whole && dims.iter().all(|&dim| dim <= i32::MAX as usize)) {
        Some(n) => Ok((dims, n)),
        None => Err(body.fault("dimensions that no array has")),
    }
}

/// The array whose values `body` begins with; nothing may follow them.
fn array(head: Head, mut body: Bytes<'_>, depth: usize) -> Checked<Array> {
    let data = match head.class {
        1 => Data::Cells(arrays(&mut body, head.n, depth)?),
        2 => Data::Struct(structs(&mut body, head.n, depth)?),
        4 => Data::Text(text(body.element()?, head.n)?),
        6..=15 => Data::Numbers(numbers(body.element()?, head.n)?),
        class => return Err(body.fault(format!("an array of class {class}, which is not read"))),
    };
    body.end("an array")?;
    Ok(Array { dims: head.dims, data })
}

/// The next `n` arrays. Each takes bytes, so `n` needs no bound of its own.
fn arrays(body: &mut Bytes<'_>, n: usize, depth: usize) -> Checked<Vec<Array>> {
    (0..n).map(|_| nested(body, depth)).collect()
}

fn structs(body: &mut Bytes<'_>, n: usize, depth: usize) -> Checked<Struct> {
    let fields = fields(body)?;
    let n = n.checked_mul(fields.len()).ok_or_else(|| body.fault("more structs than can be"))?;
    Ok(Struct { values: arrays(body, n, depth)?, fields })
}

/// Names of the fields, each in equally many bytes and filled up with zeros.
fn fields(body: &mut Bytes<'_>) -> Checked<Vec<String>> {
    let length = body.element_of(kind::INT32, "length of field names")?;
    let names = body.element_of(kind::INT8, "field names")?;
    let width = length.order.word(length.bytes) as usize;
    let whole = length.bytes.len() == 4 && width > 0 && names.bytes.len().is_multiple_of(width);
    if !whole {
        return Err(length.fault(format!("{} bytes of field names", names.bytes.len())));
    }
    names
        .bytes
        .chunks_exact(width)
        .map(|name| field(name).ok_or_else(|| names.fault("field names")))
        .collect()
}

fn field(name: &[u8]) -> Option<String> {
    let end = name.iter().position(|&byte| byte == 0)?;
    let is_name = name[..end].is_ascii() && end > 0;
    is_name.then(|| String::from_utf8_lossy(&name[..end]).into_owned())
}

/// `n` numbers, whichever type they are stored as: MATLAB stores whole ones in few bytes.
fn numbers(element: Element<'_>, n: usize) -> Checked<Vec<f64>> {
    let Element { kind, body } = element;
    let width = match kind {
        kind::INT8 | kind::UINT8 => 1,
        kind::INT16 | kind::UINT16 => 2,
        kind::INT32 | kind::UINT32 | kind::SINGLE => 4,
        kind::DOUBLE | kind::INT64 | kind::UINT64 => 8,
        _ => return Err(body.fault(format!("numbers of element type {kind}"))),
    };
    if n.checked_mul(width) != Some(body.bytes.len()) {
        return Err(body.fault(format!("{} bytes for {n} numbers of {width}", body.bytes.len())));
    }
    Ok(body.bytes.chunks_exact(width).map(|bytes| number(kind, body.order, bytes)).collect())
}

fn number(kind: u32, order: Order, bytes: &[u8]) -> f64 {
    let word = order.word(bytes);
    match kind {
        kind::INT8 => f64::from(word as i8),
        kind::INT16 => f64::from(word as i16),
        kind::INT32 => f64::from(word as i32),
        kind::INT64 => word as i64 as f64,
        kind::SINGLE => f64::from(f32::from_bits(word as u32)),
        kind::DOUBLE => f64::from_bits(word),
        _ => word as f64,
    }
}

/// Text of `n` characters.
fn text(element: Element<'_>, n: usize) -> Checked<String> {
    let Element { kind, body } = element;
    let bytes = body.bytes;
    let words = |width| bytes.chunks_exact(width).map(|word| body.order.word(word));
    let decoded = match kind {
        // Single bytes are the first 256 characters of Unicode.
        kind::INT8 | kind::UINT8 => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        kind::UINT16 | kind::UTF16 if bytes.len().is_multiple_of(2) => {
            char::decode_utf16(words(2).map(|word| word as u16)).collect::<Result<_, _>>().ok()
        }
        kind::UTF8 => String::from_utf8(bytes.to_vec()).ok(),
        kind::UINT32 | kind::UTF32 if bytes.len().is_multiple_of(4) => {
            words(4).map(|word| char::from_u32(word as u32)).collect()
        }
        _ => None,
    };
    let text: String =
        decoded.ok_or_else(|| body.fault(format!("no text of element type {kind}")))?;
    // Beyond the first 65,536 characters of Unicode, writers count differently.
    if text.chars().count() != n && text.encode_utf16().count() != n {
        return Err(body.fault(format!("text of another length than the {n} characters announced")));
    }
    Ok(text)
}
