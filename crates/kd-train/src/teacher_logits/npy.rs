//! The header of NumPy's `.npy` files, versions 1 to 3 (`numpy.lib.format`).
//!
//! It is a Python dictionary of three keys, of which only such as `numpy.save` writes are taken.

use std::path::Path;

use super::layout::{Kind, Layout, Place};

/// What every file begins with.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// Bytes of a header at most; `numpy.save` writes 128.
const MAX_HEADER: usize = 1 << 16;

/// Where the numbers of the file lie that begins with `start`, and what they are.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn layout(start: &[u8]) -> Result<Layout, String> {
    let [major, _minor, sizes @ ..] = start.get(MAGIC.len()..).unwrap_or_default() else {
        return Err("cut short within its header".into());
    };
    let n_sizes = match major {
        1 => 2,
        2 | 3 => 4,
        other => return Err(format!("version {other} of the format; numpy.save writes 1 to 3")),
    };
    let size = sizes.get(..n_sizes).ok_or("cut short within its header")?;
    let size = size.iter().rev().fold(0, |size, byte| size << 8 | usize::from(*byte));
    if size > MAX_HEADER {
        return Err(format!("a header of {size} bytes, more than {MAX_HEADER}"));
    }
    let header = sizes.get(n_sizes..n_sizes + size).ok_or("cut short within its header")?;
    let header = std::str::from_utf8(header).map_err(|_| "its header is no text")?;
    let (kind, shape) = dictionary(header)?;
    let start = (MAGIC.len() + 2 + n_sizes + size) as u64;
    Ok(Layout { kind, shape, place: Place { start, n_bytes: None }, list: None })
}

/// Whether `path` is called as such a file.
pub(super) fn is_called(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "npy")
}

/// What the dictionary says.
fn dictionary(text: &str) -> Result<(Kind, Vec<usize>), String> {
    let (mut kind, mut order, mut shape) = (None, None, None);
    let mut rest = Text(text);
    rest.expect("{")?;
    while !rest.skip("}") {
        let key = rest.quoted()?;
        rest.expect(":")?;
        match key {
            "descr" => kind = Some(self::kind(rest.quoted()?)?),
            "fortran_order" => order = Some(rest.truth()?),
            "shape" => shape = Some(rest.tuple()?),
            other => return Err(format!("its header has a key `{other}`")),
        }
        if !rest.skip(",") {
            rest.expect("}")?;
            break;
        }
    }
    match (kind, order, shape) {
        _ if !rest.0.trim().is_empty() => Err("its header goes on after its dictionary".into()),
        (_, Some(true), _) => {
            Err("in Fortran's order; numpy.save(FILE, numpy.ascontiguousarray(logits))".into())
        }
        (Some(kind), Some(false), Some(shape)) => Ok((kind, shape)),
        _ => Err("its header lacks descr, fortran_order or shape".into()),
    }
}

fn kind(descr: &str) -> Result<Kind, String> {
    match descr {
        "<f2" => Ok(Kind::F16),
        "<f4" => Ok(Kind::F32),
        "<f8" => Ok(Kind::F64),
        other => {
            let advice = "numpy.save(FILE, logits.astype('<f4'))";
            Err(format!("numbers of type `{other}`, not little-endian floats; {advice}"))
        }
    }
}

/// What is left to read of a header.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// Passes `word` over, if it comes next.
    fn skip(&mut self, word: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(word);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.skip(word) {
            return Ok(());
        }
        let found: String = self.0.trim_start().chars().take(20).collect();
        Err(format!("its header has {found:?} where `{word}` should be"))
    }

    fn quoted(&mut self) -> Result<&'a str, String> {
        let quote = if self.skip("\"") { '"' } else { '\'' };
        if quote == '\'' {
            self.expect("'")?;
        }
        let (word, rest) = self.0.split_once(quote).ok_or("its header ends within a word")?;
        self.0 = rest;
        Ok(word)
    }

    fn truth(&mut self) -> Result<bool, String> {
        if self.skip("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        self.expect("(")?;
        let mut numbers = Vec::new();
        while !self.skip(")") {
            let text = self.0.trim_start();
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (digits, rest) = text.split_at(end);
            numbers.push(digits.parse().map_err(|_| "its shape is no list of counts")?);
            self.0 = rest;
            if !self.skip(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of version `version` with such a dictionary.
    pub(crate) fn file(version: u8, dictionary: &str) -> Vec<u8> {
        let text = format!("{dictionary}\n");
        let n = text.len() as u32;
        let size = n.to_le_bytes();
        let size = if version == 1 { &size[..2] } else { &size[..] };
        [MAGIC, &[version, 0], size, text.as_bytes()].concat()
    }

    #[test]
    fn headers_of_all_versions_are_read() {
        // As numpy 2.4 writes them; version 3 has UTF-8 in names, which floats have not.
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }          ";
        for version in [1, 2, 3] {
            let layout = layout(&file(version, text)).unwrap();
            assert_eq!((layout.kind, layout.shape), (Kind::F32, vec![3, 4]));
            let size = if version == 1 { 2 } else { 4 };
            assert_eq!(layout.place.start as usize, 8 + size + text.len() + 1);
        }
        let other = r#"{"shape":(2,3,4),"fortran_order":False,"descr":"<f2"}"#;
        let layout = layout(&file(1, other)).unwrap();
        assert_eq!((layout.kind, layout.shape), (Kind::F16, vec![2, 3, 4]));
    }

    #[test]
    fn what_is_no_array_of_floats_is_refused_with_what_to_do() {
        let order = "'fortran_order': False";
        for (text, words) in [
            ("{'descr': '>f4', 'fortran_order': False, 'shape': (3,)}", "astype('<f4')"),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (3,)}", "`<i8`"),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", "`|O`"),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4)}", "ascontiguousarray"),
            ("{'descr': '<f4', 'shape': (3, 4)}", "lacks"),
            ("{'descr': [('a', '<f4')], 'shape': (3,)}", "where `'` should be"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4)}", "no list of counts"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "list"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} x", "goes on"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)", "where `}` should be"),
            ("{'descr': '<f4', 'name': 'x'}", "a key `name`"),
            ("", "where `{` should be"),
        ] {
            let error = layout(&file(1, text)).map(|_| ()).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        let good = file(1, &format!("{{'descr': '<f4', {order}, 'shape': (3, 4)}}"));
        assert!(layout(&good).is_ok());
        for n in 0..good.len() {
            assert!(layout(&good[..n]).is_err(), "{n} bytes");
        }
        assert!(layout(&file(4, "{}")).is_err_and(|e| e.contains("version 4")));
        let mut large = good;
        large[8..10].copy_from_slice(&[0xff, 0xff]);
        assert!(layout(&large).is_err());
    }
}
