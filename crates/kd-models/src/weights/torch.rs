//! PyTorch checkpoints: a pickle that names tensors, and the storages in which their numbers lie.
//!
//! Two containers hold the same pickle: [`zip`](super::zip) since PyTorch 1.6, and before it
//! a plain sequence of pickles and storages (`_use_new_zipfile_serialization=False` still writes
//! it). Neither is ever executed; see [`pickle`](super::pickle).

use std::collections::BTreeMap;

use kd_core::Result;

use super::checked::Checked;
use super::pickle::{self, Id, Pickle, Storage, Value};
use super::source::Source;
use super::stored::{Span, Stored};
use super::tree::{Dict, Node, check_name};
use super::zip::Archive;

/// Bytes of all pickles of a file.
const MAX_PICKLE: u64 = 16 << 20;
/// Named values of a file, those within nested dictionaries included.
const MAX_NODES: usize = 100_000;
/// Bytes of all their names.
const MAX_NAMES: usize = 8 << 20;
/// Dictionaries within each other.
const MAX_DEPTH: usize = 16;
/// The first pickle of the old format, the number 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
const OLD_VERSION: i64 = 1001;

/// Where the storages lie, by their keys.
type Places = BTreeMap<String, Span>;

/// Whether `start` (the first bytes of a file) may start a file of the old format.
pub(super) fn recognizes_legacy(start: &[u8]) -> bool {
    start.first() == Some(&0x80)
}

/// The tensors of a file of the format since PyTorch 1.6.
pub(super) fn read_zip(source: &Source) -> Result<Node> {
    let archive = Archive::open(source)?;
    let mut pickles = archive.entries().filter_map(|(name, _)| name.strip_suffix("/data.pkl"));
    let (Some(folder), None) = (pickles.next(), pickles.next()) else {
        return Err(source.fault(0, "a zip archive without one data.pkl: no PyTorch checkpoint"));
    };
    let span = |name: &str| archive.get(&format!("{folder}/{name}"));
    if span("constants.pkl").is_some() {
        return Err(source.fault(0, "a TorchScript archive; save model.state_dict() instead"));
    }
    if let Some(order) = span("byteorder")
        && source.read(order.offset, order.n_bytes.min(8))? != b"little"
    {
        return Err(source.fault(order.offset, "numbers that are not little-endian"));
    }
    archive.verify(source)?;
    let at = span("data.pkl").ok_or_else(|| source.fault(0, "no data.pkl"))?;
    let bytes = source.read(at.offset, at.n_bytes.min(MAX_PICKLE))?;
    let pickle = read_pickle(source, &bytes, at.offset)?;
    let prefix = format!("{folder}/data/");
    let places = archive
        .entries()
        .filter_map(|(name, span)| Some((name.strip_prefix(&prefix)?.to_owned(), span)));
    tree(&pickle, &places.collect()).map_err(|reason| source.fault(at.offset, reason))
}

/// The tensors of a file of the format before PyTorch 1.6: magic number, version, facts about the
/// system, the object, the keys of its storages, and the storages in this order.
pub(super) fn read_legacy(source: &Source) -> Result<Node> {
    let bytes = source.read(0, source.len().min(MAX_PICKLE))?;
    if !bytes.starts_with(MAGIC) {
        return Err(source.fault(0, "a pickle that torch.save did not write"));
    }
    let mut at = MAGIC.len();
    let mut next = || -> Result<Pickle> {
        let pickle = read_pickle(source, &bytes[at..], at as u64)?;
        at += pickle.n_bytes;
        Ok(pickle)
    };
    let (version, system, object, keys) = (next()?, next()?, next()?, next()?);
    let fault = |reason: String| source.fault(MAGIC.len() as u64, reason);
    match version.get(version.root) {
        Value::Int(OLD_VERSION) => {}
        other => return Err(fault(format!("format version {other:?}, not {OLD_VERSION}"))),
    }
    if !little_endian(&system) {
        return Err(fault("numbers that are not little-endian".into()));
    }
    let places = legacy_places(source, &object, &keys, at as u64)?;
    tree(&object, &places).map_err(fault)
}

fn read_pickle(source: &Source, bytes: &[u8], offset: u64) -> Result<Pickle> {
    pickle::read(bytes).map_err(|fault| source.fault(offset + fault.at as u64, fault.reason))
}

fn little_endian(system: &Pickle) -> bool {
    let Value::Dict(pairs) = system.get(system.root) else { return false };
    let is_order = |id: Id| system.text(id) == Some("little_endian");
    pairs.iter().any(|(k, v)| is_order(*k) && matches!(system.get(*v), Value::Bool(true)))
}

/// Walks over the storages from byte `at` to the end of the file.
fn legacy_places(source: &Source, object: &Pickle, keys: &Pickle, mut at: u64) -> Result<Places> {
    let storages = storages(object).map_err(|reason| source.fault(at, reason))?;
    let Value::List(list) = keys.get(keys.root) else {
        return Err(source.fault(at, "no list of storages"));
    };
    let mut places = Places::new();
    for key in list {
        let key = check_name(keys.text(*key).unwrap_or_default())
            .map_err(|reason| source.fault(at, reason))?;
        let storage = storages
            .get(key)
            .ok_or_else(|| source.fault(at, format!("a storage `{key}` of no tensor")))?;
        let n = source.read(at, 8)?.try_into().map_or(u64::MAX, u64::from_le_bytes);
        if n != storage.n_elements {
            let reason = format!("{n} numbers, but {} are expected", storage.n_elements);
            return Err(source.fault(at, reason));
        }
        let span = Span { offset: at + 8, n_bytes: n.saturating_mul(storage.dtype.size()) };
        at = span.offset.saturating_add(span.n_bytes);
        if at > source.len() || places.insert(key.to_owned(), span).is_some() {
            return Err(source.fault(span.offset, format!("cut short: storage `{key}`")));
        }
    }
    match source.len() - at {
        0 => Ok(places),
        n => Err(source.fault(at, format!("{n} bytes too many"))),
    }
}

/// The storages that a pickle refers to, by key.
fn storages(pickle: &Pickle) -> Checked<BTreeMap<&str, Storage>> {
    let mut storages = BTreeMap::<&str, Storage>::new();
    for value in &pickle.values {
        let Value::Storage(storage) = value else { continue };
        let key = pickle.text(storage.key).ok_or("a storage without a name")?;
        check_name(key)?;
        let first = storages.entry(key).or_insert(*storage);
        if (first.dtype, first.n_elements) != (storage.dtype, storage.n_elements) {
            return Err(format!("storage `{key}` in two forms"));
        }
    }
    Ok(storages)
}

/// The named values of a pickle.
fn tree(pickle: &Pickle, places: &Places) -> Checked<Node> {
    let mut builder = Builder { pickle, places, n_nodes: 0, n_name_bytes: 0 };
    builder.node(pickle.root, 0)
}

struct Builder<'a> {
    pickle: &'a Pickle,
    places: &'a Places,
    n_nodes: usize,
    n_name_bytes: usize,
}

impl Builder<'_> {
    /// Value `id`, `depth` dictionaries deep.
    fn node(&mut self, id: Id, depth: usize) -> Checked<Node> {
        self.n_nodes += 1;
        if self.n_nodes > MAX_NODES || self.n_name_bytes > MAX_NAMES {
            return Err(format!("more than {MAX_NODES} values or {MAX_NAMES} bytes of names"));
        }
        match self.pickle.get(id) {
            Value::Tensor(tensor) => self.tensor(tensor).map(Node::Tensor),
            Value::Dict(pairs) if depth < MAX_DEPTH => self.dict(pairs, depth),
            other => Ok(Node::Other(describe(other))),
        }
    }

    fn dict(&mut self, pairs: &[(Id, Id)], depth: usize) -> Checked<Node> {
        let mut dict = Dict::new();
        for (key, value) in pairs {
            let name = match self.pickle.get(*key) {
                Value::Text(text) => check_name(text)?.to_owned(),
                Value::Int(n) => n.to_string(),
                other => return Err(format!("a name that is {}", describe(other))),
            };
            self.n_name_bytes += name.len();
            let node = self.node(*value, depth + 1).map_err(|reason| within(&name, &reason))?;
            if dict.contains_key(&name) {
                return Err(format!("the name `{name}` twice"));
            }
            dict.insert(name, node);
        }
        Ok(Node::Dict(dict))
    }

    fn tensor(&self, tensor: &pickle::Tensor) -> Checked<Stored> {
        let Storage { dtype, key, n_elements } = tensor.storage;
        let key = check_name(self.pickle.text(key).ok_or("a storage without a name")?)?;
        let span = *self.places.get(key).ok_or_else(|| format!("storage `{key}` is missing"))?;
        if n_elements.checked_mul(dtype.size()) != Some(span.n_bytes) {
            return Err(format!(
                "storage `{key}` has {} bytes, but {n_elements} numbers of type {dtype} are \
                 expected",
                span.n_bytes
            ));
        }
        let layout = (tensor.shape.clone(), tensor.strides.clone());
        Stored::strided(dtype, layout, tensor.first, span)
    }
}

/// `reason`, found under `name`; names only the innermost of nested dictionaries.
fn within(name: &str, reason: &str) -> String {
    match reason.starts_with('`') {
        true => reason.to_owned(),
        false => format!("`{name}`: {reason}"),
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::None => "none".into(),
        Value::Bool(x) => format!("bool {x}"),
        Value::Int(x) => format!("int {x}"),
        Value::Float(x) => format!("float {x}"),
        Value::Text(x) => format!("text {:?}", x.chars().take(40).collect::<String>()),
        Value::Tuple(x) => format!("tuple of {}", x.len()),
        Value::List(x) => format!("list of {}", x.len()),
        Value::Dict(x) => format!("dict of {}", x.len()),
        Value::Class(_) => "class".into(),
        Value::Storage(x) => format!("storage of {} {}", x.n_elements, x.dtype),
        Value::Tensor(x) => format!("tensor {:?}", x.shape),
    }
}
