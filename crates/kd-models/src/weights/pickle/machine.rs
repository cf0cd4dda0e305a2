//! The opcodes of pickle protocol 2 that hold data, and the stack they work on.

use std::collections::BTreeMap;

use super::value::{Fault, Id, Pickle, Value};
use crate::weights::checked::Checked;

/// Opcodes, plus copied elements, of a pickle. A checkpoint has about 30 for each tensor.
const MAX_STEPS: usize = 1 << 20;

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
        match self.byte()? {
            b'.' => return self.pop().map(Some),
            0x80 => self.protocol()?,
            b'(' => self.marks.push(self.stack.len()),
            n @ 0x85..=0x87 => self.tuple(usize::from(n - 0x84))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&items)?;
            }
            b'q' => self.byte().and_then(|slot| self.put(slot.into()))?,
            b'r' => self.number().and_then(|slot| self.put(slot))?,
            b'h' => self.byte().and_then(|slot| self.recall(slot.into()))?,
            b'j' => self.number().and_then(|slot| self.recall(slot))?,
            b'c' => self.class()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => self.storage()?,
            other => self.literal(other)?,
        }
        Ok(None)
    }

    /// Pushes the value that an opcode and its argument stand for.
    fn literal(&mut self, opcode: u8) -> Checked<()> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            0x8a => Value::Int(self.integer()?),
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            b'X' | b'T' => {
                let n = self.number()?;
                self.text(n as usize)?
            }
            b'U' => {
                let n = self.byte()?;
                self.text(n.into())?
            }
            b'}' => Value::Dict(Vec::new()),
            b']' => Value::List(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            other => return Err(format!("opcode {other:#04x}, which torch.save does not write")),
        };
        self.push(value);
        Ok(())
    }

    pub(super) fn pay(&mut self, n: usize) -> Checked<()> {
        self.n_steps = self.n_steps.saturating_add(n);
        match self.n_steps <= MAX_STEPS {
            true => Ok(()),
            false => Err(format!("more than {MAX_STEPS} steps: no checkpoint of weights")),
        }
    }

    fn take(&mut self, n: usize) -> Checked<&[u8]> {
        let end = self.at.checked_add(n).ok_or("cut short")?;
        let taken = self.bytes.get(self.at..end).ok_or("the pickle is cut short")?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "cut short".into())
    }

    fn byte(&mut self) -> Checked<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn number(&mut self) -> Checked<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn push(&mut self, value: Value) {
        // The number of values is at most that of the steps, which fits.
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    pub(super) fn pop(&mut self) -> Checked<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or_else(|| "the stack is empty".into()),
            false => Err("the stack is empty".into()),
        }
    }

    fn pop_to_mark(&mut self) -> Checked<Vec<Id>> {
        let mark = self.marks.pop().ok_or("no mark is set")?;
        Ok(self.stack.split_off(mark))
    }

    /// The value on top of the stack, which stays there.
    pub(super) fn top(&mut self) -> Checked<&mut Value> {
        let id = self.pop()?;
        self.stack.push(id);
        Ok(&mut self.values[id as usize])
    }

    fn protocol(&mut self) -> Checked<()> {
        match self.byte()? {
            2 => Ok(()),
            other => Err(format!("pickle protocol {other}; torch.save writes protocol 2")),
        }
    }

    /// A signed integer of up to 8 bytes, after their number.
    fn integer(&mut self) -> Checked<i64> {
        let n = usize::from(self.byte()?);
        if n > 8 {
            return Err(format!("an integer of {n} bytes"));
        }
        let taken = self.take(n)?;
        let negative = taken.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut bytes = if negative { [0xff; 8] } else { [0; 8] };
        bytes[..n].copy_from_slice(taken);
        Ok(i64::from_le_bytes(bytes))
    }

    fn text(&mut self, n: usize) -> Checked<Value> {
        let text = std::str::from_utf8(self.take(n)?).map_err(|_| "text that is not UTF-8")?;
        Ok(Value::Text(text.to_owned()))
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
            _ => Err("elements for what is no list".into()),
        }
    }

    /// Adds keys and values, which alternate, to the dictionary on top of the stack.
    fn insert(&mut self, items: &[Id]) -> Checked<()> {
        let (pairs, rest) = items.as_chunks::<2>();
        match self.top()? {
            Value::Dict(dict) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            Value::Dict(_) => Err("a key without a value".into()),
            _ => Err("keys and values for what is no dictionary".into()),
        }
    }

    fn put(&mut self, slot: u32) -> Checked<()> {
        let id = self.pop()?;
        self.stack.push(id);
        self.memo.insert(slot, id);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Checked<()> {
        let id = self.memo.get(&slot).ok_or("a value that was not stored before")?;
        self.stack.push(*id);
        Ok(())
    }
}
