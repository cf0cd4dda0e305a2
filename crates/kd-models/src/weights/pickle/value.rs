//! What a pickle of weights holds.

use crate::weights::Dtype;

/// Number of a value within its pickle.
pub(in crate::weights) type Id = u32;

/// A value, which refers to others by number.
#[derive(Debug)]
pub(in crate::weights) enum Value {
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
pub(in crate::weights) enum Class {
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
    pub(super) fn from_name(module: &str, name: &str) -> Option<Self> {
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
pub(in crate::weights) struct Storage {
    pub(in crate::weights) dtype: Dtype,
    pub(in crate::weights) key: Id,
    pub(in crate::weights) n_elements: u64,
}

/// A view of a storage, as written: nothing is checked.
#[derive(Debug)]
pub(in crate::weights) struct Tensor {
    pub(in crate::weights) storage: Storage,
    pub(in crate::weights) first: u64,
    pub(in crate::weights) shape: Vec<usize>,
    pub(in crate::weights) strides: Vec<usize>,
}

/// What a pickle holds.
#[derive(Debug)]
pub(in crate::weights) struct Pickle {
    pub(in crate::weights) values: Vec<Value>,
    pub(in crate::weights) root: Id,
    /// Bytes that it took.
    pub(in crate::weights) n_bytes: usize,
}

impl Pickle {
    /// The value of this number.
    pub(in crate::weights) fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// The text of this number, if it is one.
    pub(in crate::weights) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Why a pickle was refused, and at which byte of it.
#[derive(Debug)]
pub(in crate::weights) struct Fault {
    pub(in crate::weights) at: usize,
    pub(in crate::weights) reason: String,
}
