//! What a pickle of weights holds.

use crate::weights::Dtype;

/// Characters of the name of a module or class that are shown.
const SHOWN: usize = 80;
/// Objects that make objects that make objects.
const MAX_OBJECTS: usize = 4;

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
    /// Data that nothing here needs, in a word.
    Plain(&'static str),
    /// A name that has a meaning here.
    Class(Class),
    /// Any other name: module and name, as texts.
    Global(Id, Id),
    /// What such a name would have made.
    Object(Object),
    Storage(Storage),
    Tensor(Box<Tensor>),
    /// A tensor that cannot be read, and why.
    NoTensor(String),
}

/// The names that weights need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::weights) enum Class {
    /// `collections.OrderedDict` and its kin: a dictionary.
    Dict,
    /// `collections.defaultdict`: a dictionary, whose first argument makes what it lacks.
    DefaultDict,
    /// `torch.Size`: a tuple.
    Size,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`: a view of a storage.
    Tensor,
    /// `torch._utils._rebuild_tensor_v3`: a view of a storage of bytes, with the type of its numbers.
    TypedTensor,
    /// `torch._utils._rebuild_parameter` and its kin: the first argument.
    Parameter,
    /// `torch._tensor._rebuild_from_type_v2`: another of these, applied to the third argument.
    Subclass,
    /// Makes a tensor that is none of plain numbers.
    Special(&'static str),
    /// `copyreg._reconstructor` and its kin: an object of the first argument.
    Instance,
    /// `torch.FloatStorage` and its kin.
    Storage(Dtype),
}

impl Class {
    pub(super) fn from_name(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict" | "Counter") => Some(Self::Dict),
            ("builtins" | "__builtin__", "dict") => Some(Self::Dict),
            ("collections", "defaultdict") => Some(Self::DefaultDict),
            ("torch", "Size") => Some(Self::Size),
            ("torch._utils", _) => Self::from_utils(name),
            ("torch._tensor", "_rebuild_from_type_v2") => Some(Self::Subclass),
            ("copyreg" | "copy_reg", "_reconstructor" | "__newobj__" | "__newobj_ex__") => {
                Some(Self::Instance)
            }
            ("torch" | "torch.storage" | "torch.cuda", _) => Some(Self::Storage(storage(name)?)),
            _ => None,
        }
    }

    fn from_utils(name: &str) -> Option<Self> {
        Some(match name {
            "_rebuild_tensor" | "_rebuild_tensor_v2" => Self::Tensor,
            "_rebuild_tensor_v3" => Self::TypedTensor,
            "_rebuild_parameter"
            | "_rebuild_parameter_with_state"
            | "_rebuild_device_tensor_from_cpu_tensor" => Self::Parameter,
            "_rebuild_sparse_tensor" | "_rebuild_sparse_csr_tensor" => {
                Self::Special("sparse tensor; save tensor.to_dense()")
            }
            "_rebuild_qtensor" => Self::Special("quantized tensor; save tensor.dequantize()"),
            "_rebuild_meta_tensor_no_storage" => {
                Self::Special("meta tensor, without numbers; save it from a device that has them")
            }
            "_rebuild_nested_tensor" => {
                Self::Special("nested tensor; save tensor.to_padded_tensor(0.0)")
            }
            "_rebuild_wrapper_subclass" => {
                Self::Special("tensor of a class of its own; save a plain copy of it")
            }
            "_rebuild_device_tensor_from_numpy" | "_rebuild_xla_tensor" => {
                Self::Special("tensor in NumPy's form; save tensor.cpu()")
            }
            _ => return None,
        })
    }
}

/// The numbers of a class of storages.
fn storage(name: &str) -> Option<Dtype> {
    Some(match name {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::Bf16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" | "UntypedStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        "ComplexFloatStorage" => Dtype::Complex64,
        "ComplexDoubleStorage" => Dtype::Complex128,
        "QInt8Storage" | "QUInt8Storage" => Dtype::Quantized8,
        "QInt32Storage" => Dtype::Quantized32,
        _ => return None,
    })
}

/// What a class that is unknown here would have made.
#[derive(Debug)]
pub(in crate::weights) struct Object {
    /// The class.
    pub(in crate::weights) class: Id,
    /// What it was given by name: elements of what is a dictionary, attributes.
    pub(in crate::weights) items: Vec<(Id, Id)>,
    /// Whether its attributes are those of a `torch.nn.Module`.
    pub(in crate::weights) is_network: bool,
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
    /// Of its own numbers: those of a storage of bytes may be any.
    pub(in crate::weights) dtype: Dtype,
    pub(in crate::weights) first: u64,
    pub(in crate::weights) shape: Vec<usize>,
    pub(in crate::weights) strides: Vec<usize>,
    /// Whether the numbers are those of the storage with the other sign.
    pub(in crate::weights) is_negative: bool,
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
        text(&self.values, id)
    }

    /// The full name of the class or function of this number.
    pub(in crate::weights) fn name(&self, id: Id) -> String {
        name(&self.values, id)
    }
}

pub(super) fn text(values: &[Value], id: Id) -> Option<&str> {
    match &values[id as usize] {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// `module.name`, printable and not too long. What is an object itself, such as a `functools.partial`,
/// has the name of its class.
pub(super) fn name(values: &[Value], mut id: Id) -> String {
    for _ in 0..MAX_OBJECTS {
        let Value::Object(object) = &values[id as usize] else { break };
        id = object.class;
    }
    let Value::Global(module, name) = values[id as usize] else { return "of no name".into() };
    let part = |id| text(values, id).unwrap_or_default().chars().take(SHOWN);
    let whole: String = part(module).chain(['.']).chain(part(name)).collect();
    whole.escape_debug().to_string()
}

/// Why a pickle was refused, and at which byte of it.
#[derive(Debug)]
pub(in crate::weights) struct Fault {
    pub(in crate::weights) at: usize,
    pub(in crate::weights) reason: String,
}
