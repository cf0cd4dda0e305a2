//! The opcodes of pickles, and the stack they work on.

use std::collections::BTreeMap;

use super::value::{Fault, Id, Object, Pickle, Value};
use crate::weights::checked::Checked;

/// Opcodes, plus copied elements, of a pickle. A checkpoint has about 30 for each tensor.
const MAX_STEPS: usize = 1 << 20;
/// The newest protocol.
const MAX_PROTOCOL: u8 = 5;

/// A pickle while it is read.
#[derive(Default)]
pub(super) struct Machine<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    n_steps: usize,
    pub(super) values: Vec<Value>,
    pub(super) stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }

    pub(super) fn run(mut self) -> Result<Pickle, Fault> {
        loop {
            let at = self.at;
            match self.step() {
                Ok(None) => {}
                Ok(Some(root)) => {
                    return Ok(Pickle { values: self.values, root, n_bytes: self.at });
                }
                Err(reason) => return Err(Fault { at, reason }),
            }
        }
    }

    /// Carries out one opcode; gives the result at the end.
    fn step(&mut self) -> Checked<Option<Id>> {
        self.pay(1)?;
        let opcode = self.byte()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => self.protocol()?,
            // Frames only say how much to read at once.
            0x95 => self.array::<8>().map(drop)?,
            b'q' | b'r' | b'p' | 0x94 | b'h' | b'j' | b'g' => self.remember(opcode)?,
            b'(' | b'0' | b'1' | b'2' | 0x98 => self.arrange(opcode)?,
            b'c' | 0x93 | 0x82..=0x84 => self.global(opcode)?,
            b'R' | b'i' | b'o' | 0x81 | 0x92 => self.make(opcode)?,
            b'b' => self.build()?,
            b'Q' => self.storage()?,
            b'P' => {
                self.line()?;
                self.push(Value::Plain("reference"));
            }
            other => {
                if !self.collect(other)? {
                    self.literal(other)?;
                }
            }
        }
        Ok(None)
    }

    /// Opcodes that store the value on top of the stack, or push one that was stored.
    fn remember(&mut self, opcode: u8) -> Checked<()> {
        match opcode {
            b'q' => self.byte().and_then(|slot| self.put(slot.into())),
            b'r' => self.number().and_then(|slot| self.put(slot)),
            b'p' => self.decimal().and_then(|slot| self.put(slot)),
            0x94 => self.put(self.memo.len() as u32),
            b'h' => self.byte().and_then(|slot| self.recall(slot.into())),
            b'j' => self.number().and_then(|slot| self.recall(slot)),
            _ => self.decimal().and_then(|slot| self.recall(slot)),
        }
    }

    /// Opcodes that only move what is on the stack.
    fn arrange(&mut self, opcode: u8) -> Checked<()> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.stack.len() == self.marks.last().copied().unwrap_or(0) => {
                self.marks.pop().ok_or("the stack is empty")?;
            }
            b'0' => self.pop().map(drop)?,
            b'1' => self.pop_to_mark().map(drop)?,
            b'2' => {
                let id = self.top_id()?;
                self.stack.push(id);
            }
            // A buffer becomes read-only.
            _ => {}
        }
        Ok(())
    }

    /// Opcodes that make collections or add to them; whether `opcode` is one.
    fn collect(&mut self, opcode: u8) -> Checked<bool> {
        match opcode {
            n @ 0x85..=0x87 => self.tuple(usize::from(n - 0x84))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items));
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()));
                self.insert(&items)?;
            }
            0x91 => {
                self.pop_to_mark()?;
                self.push(Value::Plain("set"));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            0x90 => self.pop_to_mark().and_then(|_| self.top().map(drop))?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn pay(&mut self, n: usize) -> Checked<()> {
        self.n_steps = self.n_steps.saturating_add(n);
        match self.n_steps <= MAX_STEPS {
            true => Ok(()),
            false => Err(format!("more than {MAX_STEPS} steps: no checkpoint of weights")),
        }
    }

    pub(super) fn take(&mut self, n: usize) -> Checked<&'a [u8]> {
        let end = self.at.checked_add(n).ok_or("cut short")?;
        let taken = self.bytes.get(self.at..end).ok_or("the pickle is cut short")?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "cut short".into())
    }

    pub(super) fn byte(&mut self) -> Checked<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn number(&mut self) -> Checked<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The bytes up to the end of the line.
    pub(super) fn line(&mut self) -> Checked<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let n = rest.iter().position(|byte| *byte == b'\n').ok_or("a line that does not end")?;
        let line = self.take(n)?;
        self.at += 1;
        Ok(line)
    }

    fn decimal(&mut self) -> Checked<u32> {
        let line = std::str::from_utf8(self.line()?).ok();
        line.and_then(|line| line.parse().ok()).ok_or_else(|| "a slot that is no number".into())
    }

    pub(super) fn push(&mut self, value: Value) -> Id {
        let id = self.keep(value);
        self.stack.push(id);
        id
    }

    /// A value that does not go onto the stack.
    pub(super) fn keep(&mut self, value: Value) -> Id {
        // The number of values is at most three times that of the steps, which fits.
        self.values.push(value);
        (self.values.len() - 1) as Id
    }

    pub(super) fn pop(&mut self) -> Checked<Id> {
        let id = self.top_id()?;
        self.stack.pop();
        Ok(id)
    }

    pub(super) fn pop_to_mark(&mut self) -> Checked<Vec<Id>> {
        let mark = self.marks.pop().ok_or("no mark is set")?;
        Ok(self.stack.split_off(mark))
    }

    fn top_id(&self) -> Checked<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.get(floor..).unwrap_or_default();
        above.last().copied().ok_or_else(|| "the stack is empty".into())
    }

    /// The value on top of the stack, which stays there.
    pub(super) fn top(&mut self) -> Checked<&mut Value> {
        let id = self.top_id()?;
        Ok(&mut self.values[id as usize])
    }

    fn protocol(&mut self) -> Checked<()> {
        match self.byte()? {
            0..=MAX_PROTOCOL => Ok(()),
            other => Err(format!("pickle protocol {other}; the newest one here is {MAX_PROTOCOL}")),
        }
    }

    fn tuple(&mut self, n: usize) -> Checked<()> {
        let mut items = (0..n).map(|_| self.pop()).collect::<Checked<Vec<_>>>()?;
        items.reverse();
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Checked<()> {
        match self.top()? {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            Value::Object(_) => Ok(()),
            _ => Err("elements for what is no list".into()),
        }
    }

    /// Adds keys and values, which alternate, to the dictionary on top of the stack.
    fn insert(&mut self, items: &[Id]) -> Checked<()> {
        let (pairs, rest) = items.as_chunks::<2>();
        match self.top()? {
            _ if !rest.is_empty() => Err("a key without a value".into()),
            Value::Dict(dict) | Value::Object(Object { items: dict, .. }) => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err("keys and values for what is no dictionary".into()),
        }
    }

    fn put(&mut self, slot: u32) -> Checked<()> {
        let id = self.top_id()?;
        self.memo.insert(slot, id);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Checked<()> {
        let id = self.memo.get(&slot).ok_or("a value that was not stored before")?;
        self.stack.push(*id);
        Ok(())
    }
}
