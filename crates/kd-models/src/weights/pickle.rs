//! A pickle machine that knows data only: what `torch.save` writes (pickle protocol 2), and no
//! opcode that imports, calls or builds anything else.
//!
//! Python's own machine calls whatever function a pickle names; here the few names that a
//! checkpoint of weights needs ([`Class`]) have a fixed meaning and every other one is refused.
//!
//! Memory is bounded by [`MAX_STEPS`]: an opcode makes at most one value, one entry of the stack
//! and one of the memo; values refer to each other by number, so that a value used a thousand
//! times is stored once; and what copies more (a list of pairs into a dictionary) pays a step for
//! each. Nothing here recurses.

use std::collections::BTreeMap;

use super::{Checked, Dtype};

/// Opcodes, plus copied elements, of a pickle. A checkpoint has about 30 for each tensor.
const MAX_STEPS: usize = 1 << 20;
/// Bytes of the name of a module or class.
const MAX_NAME: usize = 256;
/// Elements of a tuple of arguments.
const MAX_ARGUMENTS: usize = 8;

/// Number of a value within its pickle.
pub(super) type Id = u32;

/// A value, which refers to others by number.
#[derive(Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class(Class),
    Storage(Storage),
    Tensor(Box<Tensor>),
}

/// The names that a pickle may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `collections.OrderedDict`: a dictionary.
    OrderedDict,
    /// `torch.Size`: a tuple.
    Size,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`: a view of a storage.
    Tensor,
    /// `torch._utils._rebuild_parameter`: its first argument.
    Parameter,
    /// `torch.FloatStorage` and its kin.
    Storage(Dtype),
}

impl Class {
    fn from_name(module: &str, name: &str) -> Option<Self> {
        let storage = |dtype| Some(Self::Storage(dtype));
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch", "Size") => Some(Self::Size),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Self::Tensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::Parameter),
            ("torch", "DoubleStorage") => storage(Dtype::F64),
            ("torch", "FloatStorage") => storage(Dtype::F32),
            ("torch", "HalfStorage") => storage(Dtype::F16),
            ("torch", "BFloat16Storage") => storage(Dtype::Bf16),
            ("torch", "LongStorage") => storage(Dtype::I64),
            ("torch", "IntStorage") => storage(Dtype::I32),
            ("torch", "ShortStorage") => storage(Dtype::I16),
            ("torch", "CharStorage") => storage(Dtype::I8),
            ("torch", "ByteStorage") => storage(Dtype::U8),
            ("torch", "BoolStorage") => storage(Dtype::Bool),
            _ => None,
        }
    }
}

/// Numbers that lie outside the pickle, under the name `key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) dtype: Dtype,
    pub(super) key: Id,
    pub(super) n_elements: u64,
}

/// A view of a storage, as written: nothing is checked.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) storage: Storage,
    pub(super) first: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) values: Vec<Value>,
    pub(super) root: Id,
    /// Bytes that it took.
    pub(super) n_bytes: usize,
}

impl Pickle {
    /// The value of this number.
    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// The text of this number, if it is one.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Why a pickle was refused, and at which byte of it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) reason: String,
}

/// Reads the pickle at the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle, Fault> {
    Machine { bytes, ..Machine::default() }.run()
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    n_steps: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl Machine<'_> {
    fn run(mut self) -> Result<Pickle, Fault> {
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
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => self.signed(4)?,
            0x8a => {
                let n = self.byte()?;
                self.signed(n.into())?;
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(value));
            }
            b'X' | b'T' => {
                let n = u32::from_le_bytes(self.array()?);
                self.text(n as usize)?;
            }
            b'U' => {
                let n = self.byte()?;
                self.text(n.into())?;
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
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
            b'q' => {
                let slot = self.byte()?;
                self.put(slot.into())?;
            }
            b'r' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.put(slot)?;
            }
            b'h' => {
                let slot = self.byte()?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = u32::from_le_bytes(self.array()?);
                self.recall(slot)?;
            }
            b'c' => self.class()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => self.storage()?,
            other => return Err(format!("opcode {other:#04x}, which torch.save does not write")),
        }
        Ok(None)
    }

    fn pay(&mut self, n: usize) -> Checked<()> {
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

    fn push(&mut self, value: Value) {
        // The number of values is at most that of the steps, which fits.
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    fn pop(&mut self) -> Checked<Id> {
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
    fn top(&mut self) -> Checked<&mut Value> {
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

    /// An unsigned integer of `n` bytes, fewer than 8.
    fn int(&mut self, n: usize) -> Checked<()> {
        let mut bytes = [0; 8];
        bytes[..n].copy_from_slice(self.take(n)?);
        self.push(Value::Int(i64::from_le_bytes(bytes)));
        Ok(())
    }

    /// A signed integer of `n` bytes.
    fn signed(&mut self, n: usize) -> Checked<()> {
        if n > 8 {
            return Err(format!("an integer of {n} bytes"));
        }
        let taken = self.take(n)?;
        let negative = taken.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut bytes = if negative { [0xff; 8] } else { [0; 8] };
        bytes[..n].copy_from_slice(taken);
        self.push(Value::Int(i64::from_le_bytes(bytes)));
        Ok(())
    }

    fn text(&mut self, n: usize) -> Checked<()> {
        let text = std::str::from_utf8(self.take(n)?).map_err(|_| "text that is not UTF-8")?;
        let text = text.to_owned();
        self.push(Value::Text(text));
        Ok(())
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

    fn class(&mut self) -> Checked<()> {
        let (module, name) = (self.line()?, self.line()?);
        let class = Class::from_name(&module, &name).ok_or_else(|| {
            let whole = format!("{module}.{name}").escape_debug().to_string();
            format!("refuses to load `{whole}`: nothing was run; save model.state_dict() alone")
        })?;
        self.push(Value::Class(class));
        Ok(())
    }

    fn line(&mut self) -> Checked<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let n = rest.iter().take(MAX_NAME).position(|byte| *byte == b'\n');
        let n = n.ok_or("a class name that does not end")?;
        let line = String::from_utf8_lossy(&rest[..n]).into_owned();
        self.at += n + 1;
        Ok(line)
    }

    fn reduce(&mut self) -> Checked<()> {
        let (arguments, class) = (self.pop()?, self.pop()?);
        let arguments = self.items(arguments)?;
        let Value::Class(class) = self.values[class as usize] else {
            return Err("a call of what is no class".into());
        };
        match (class, &arguments[..]) {
            (Class::OrderedDict, []) => self.push(Value::Dict(Vec::new())),
            (Class::OrderedDict, [pairs]) => self.ordered_dict(*pairs)?,
            (Class::Size, [tuple]) => self.stack.push(*tuple),
            (Class::Parameter, [tensor, ..]) => self.stack.push(*tensor),
            (Class::Tensor, [storage, first, shape, strides, ..]) => {
                self.tensor(*storage, *first, *shape, *strides)?;
            }
            _ => return Err(format!("{class:?} with {} arguments", arguments.len())),
        }
        Ok(())
    }

    /// A copy of a short tuple.
    fn items(&self, id: Id) -> Checked<Vec<Id>> {
        match &self.values[id as usize] {
            Value::Tuple(items) if items.len() <= MAX_ARGUMENTS => Ok(items.clone()),
            Value::Tuple(items) => Err(format!("{} values, too many", items.len())),
            _ => Err("a tuple should be here".into()),
        }
    }

    /// `OrderedDict([(key, value), ...])`, as Python 2 writes it.
    fn ordered_dict(&mut self, pairs: Id) -> Checked<()> {
        let n = self.list(pairs)?.len();
        self.pay(n)?;
        let dict = self.list(pairs)?.iter().map(|id| self.pair(*id)).collect::<Checked<_>>()?;
        self.push(Value::Dict(dict));
        Ok(())
    }

    fn list(&self, id: Id) -> Checked<&[Id]> {
        match &self.values[id as usize] {
            Value::List(list) => Ok(list),
            _ => Err("a list should be here".into()),
        }
    }

    fn pair(&self, id: Id) -> Checked<(Id, Id)> {
        match &self.values[id as usize] {
            Value::Tuple(pair) | Value::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err("a pair should be here".into()),
        }
    }

    fn tensor(&mut self, storage: Id, first: Id, shape: Id, strides: Id) -> Checked<()> {
        let Value::Storage(storage) = self.values[storage as usize] else {
            return Err("a tensor of what is no storage".into());
        };
        let first = self.size(first)? as u64;
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        self.push(Value::Tensor(Box::new(Tensor { storage, first, shape, strides })));
        Ok(())
    }

    fn sizes(&self, id: Id) -> Checked<Vec<usize>> {
        self.items(id)?.into_iter().map(|item| self.size(item)).collect()
    }

    fn size(&self, id: Id) -> Checked<usize> {
        match self.values[id as usize] {
            Value::Int(n) => usize::try_from(n).map_err(|_| format!("a size of {n}")),
            _ => Err("a size that is no integer".into()),
        }
    }

    /// Attributes of a dictionary (`_metadata` of a state_dict), which say nothing to us.
    fn build(&mut self) -> Checked<()> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => Err("attributes for what is no dictionary".into()),
        }
    }

    /// `("storage", class, key, location, number of elements[, view])`.
    fn storage(&mut self) -> Checked<()> {
        let id = self.pop()?;
        let items = self.items(id)?;
        let is =
            |id: Id, text: &str| matches!(&self.values[id as usize], Value::Text(t) if t == text);
        match items[..] {
            [tag, ..] if is(tag, "module") => {
                Err("a whole network with its code; save model.state_dict() instead".into())
            }
            [tag, class, key, _, n, ref view @ ..] if is(tag, "storage") && view.len() <= 1 => {
                let Value::Class(Class::Storage(dtype)) = self.values[class as usize] else {
                    return Err("a storage of no known class".into());
                };
                if view.iter().any(|id| !matches!(self.values[*id as usize], Value::None)) {
                    return Err("a view of a storage, which no torch since 0.4 writes".into());
                }
                let n_elements = self.size(n)? as u64;
                self.push(Value::Storage(Storage { dtype, key, n_elements }));
                Ok(())
            }
            _ => Err("a reference to what is no storage".into()),
        }
    }
}
