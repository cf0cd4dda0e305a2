//! A pickle machine that knows data only: what `torch.save` writes (pickle protocol 2), and no
//! opcode that imports, calls or builds anything else.
//!
//! Python's own machine calls whatever function a pickle names; here the few names that a
//! checkpoint of weights needs ([`Class`]) have a fixed meaning and every other one is refused.
//!
//! Memory is bounded by the number of steps that [`machine`] allows: an opcode makes at most one
//! value, one entry of the stack and one of the memo; values refer to each other by number, so
//! that a value used a thousand times is stored once; and what copies more (a list of pairs into
//! a dictionary) pays a step for each. Nothing here recurses.

mod call;
mod machine;

use super::Dtype;
use machine::Machine;

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
    Machine::new(bytes).run()
}
