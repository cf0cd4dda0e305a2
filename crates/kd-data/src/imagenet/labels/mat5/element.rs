//! Elements, of which a MAT-file is made: a type, a size and that many bytes.

use super::{Checked, Fault};

/// Types of elements.
pub(super) mod kind {
    pub(crate) const INT8: u32 = 1;
    pub(crate) const UINT8: u32 = 2;
    pub(crate) const INT16: u32 = 3;
    pub(crate) const UINT16: u32 = 4;
    pub(crate) const INT32: u32 = 5;
    pub(crate) const UINT32: u32 = 6;
    pub(crate) const SINGLE: u32 = 7;
    pub(crate) const DOUBLE: u32 = 9;
    pub(crate) const INT64: u32 = 12;
    pub(crate) const UINT64: u32 = 13;
    pub(crate) const MATRIX: u32 = 14;
    pub(crate) const COMPRESSED: u32 = 15;
    pub(crate) const UTF8: u32 = 16;
    pub(crate) const UTF16: u32 = 17;
    pub(crate) const UTF32: u32 = 18;
}

/// The order of a number's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The unsigned number that up to eight bytes are.
    pub(super) fn word(self, bytes: &[u8]) -> u64 {
        let join = |word, &byte: &u8| word << 8 | u64::from(byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, join),
            Self::Big => bytes.iter().fold(0, join),
        }
    }
}

/// Bytes that are read from the front, each part bounded by what is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'b> {
    pub(super) bytes: &'b [u8],
    /// Where in the file they begin.
    pub(super) offset: u64,
    pub(super) order: Order,
}

/// One element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'b> {
    pub(super) kind: u32,
    pub(super) body: Bytes<'b>,
}

impl<'b> Bytes<'b> {
    /// A fault at the first byte.
    pub(super) fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault::new(self.offset, reason)
    }

    /// The next element, with what fills it up to a multiple of eight bytes.
    pub(super) fn element(&mut self) -> Checked<Element<'b>> {
        let word = self.word()?;
        let (kind, n_small) = (word & 0xffff, word as usize >> 16);
        if n_small > 4 {
            return Err(self.fault(format!("a small element of {n_small} bytes, at most 4")));
        }
        if n_small > 0 {
            let body = self.take(4)?;
            return Ok(Element { kind, body: Bytes { bytes: &body.bytes[..n_small], ..body } });
        }
        let size = self.word()? as usize;
        let body = self.take(size)?;
        // Compressed elements are the only ones that are not filled up.
        if kind != kind::COMPRESSED {
            self.take(size.next_multiple_of(8) - size)?;
        }
        Ok(Element { kind, body })
    }

    /// The body of the next element, which must be of this type; `what` names it in the fault.
    pub(super) fn element_of(&mut self, kind: u32, what: &str) -> Checked<Bytes<'b>> {
        let offset = self.offset;
        match self.element()? {
            element if element.kind == kind => Ok(element.body),
            element => {
                let reason = format!("{what} of element type {}, expected {kind}", element.kind);
                Err(Fault::new(offset, reason))
            }
        }
    }

    /// Refuses bytes that are left over.
    pub(super) fn end(&self, what: &str) -> Checked<()> {
        match self.bytes.len() {
            0 => Ok(()),
            n => Err(self.fault(format!("{what} has {n} bytes more than belong to it"))),
        }
    }

    fn word(&mut self) -> Checked<u32> {
        Ok(self.order.word(self.take(4)?.bytes) as u32)
    }

    fn take(&mut self, n: usize) -> Checked<Self> {
        let Some((head, tail)) = self.bytes.split_at_checked(n) else {
            let left = self.bytes.len();
            return Err(self.fault(format!("cut off: {n} bytes are announced, {left} are left")));
        };
        let taken = Self { bytes: head, ..*self };
        *self = Self { bytes: tail, offset: self.offset + n as u64, ..*self };
        Ok(taken)
    }
}
