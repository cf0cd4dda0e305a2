//! PyTorch checkpoints: a pickle that names tensors, and the storages in which their numbers lie.
//!
//! Two containers hold the same pickle: [`zip`](super::zip) since PyTorch 1.6, and before it
//! a plain sequence of pickles and storages (`_use_new_zipfile_serialization=False` still writes
//! it). Neither is ever executed; see [`pickle`](super::pickle).

use std::collections::BTreeMap;

use kd_core::Result;

use super::archive;
use super::checked::Checked;
use super::object::tree;
use super::pickle::{self, Id, Pickle, Storage, Value};
use super::source::Source;
use super::stored::{Places, Span};
use super::tree::{Node, check_name};
use super::zip::Archive;

/// Bytes of all pickles of a file.
const MAX_PICKLE: u64 = 16 << 20;
/// The number 0x1950a86a20f9469cfc6c, the first pickle of the old format: in binary and in decimal.
const MAGIC: &[u8] = b"\x0al\xfc\x9cF\xf9 j\xa8P\x19";
const MAGIC_TEXT: &[u8] = b"L119547037146038801333356L";
/// The pickle within an archive.
const PICKLE: &str = "data.pkl";
const OLD_VERSION: i64 = 1001;

/// Whether `start` (the first bytes of a file) may start a file of the old format.
pub(super) fn recognizes_legacy(start: &[u8]) -> bool {
    start.first() == Some(&0x80) || MAGIC_TEXT.starts_with(start.get(..8).unwrap_or(b"-"))
}

/// The tensors of a file of the format since PyTorch 1.6, and where their numbers are.
pub(super) fn read_zip(source: Source) -> Result<(Source, Node)> {
    let archive = Archive::open(&source)?;
    let folder = match folder(&archive) {
        Some(folder) if !archive::is_program(&archive) => folder.to_owned(),
        _ => return Err(source.fault(0, archive::what(&archive))),
    };
    let (source, archive) = archive.unpacked(source)?;
    let span = |name: &str| archive.get(&format!("{folder}{name}"));
    if let Some(order) = span("byteorder")
        && source.read(order.offset, order.n_bytes.min(8))? != b"little"
    {
        let reason = "numbers that are not little-endian; save it again on an ordinary machine";
        return Err(source.fault(order.offset, reason));
    }
    let at = span(PICKLE).ok_or_else(|| source.fault(0, "no data.pkl"))?;
    if at.n_bytes > MAX_PICKLE {
        let reason = format!("a pickle of {} bytes, more than {MAX_PICKLE}", at.n_bytes);
        return Err(source.fault(at.offset, reason));
    }
    let bytes = source.read(at.offset, at.n_bytes)?;
    let pickle = read_pickle(&source, &bytes, at.offset)?;
    let prefix = format!("{folder}data/");
    let places = archive
        .entries()
        .filter_map(|(name, span)| Some((name.strip_prefix(&prefix)?.to_owned(), span)));
    let node = tree(&pickle, &places.collect());
    let node = node.map_err(|reason| source.fault(at.offset, reason))?;
    Ok((source, node))
}

/// The folder of the one `data.pkl` of an archive, with its slash: the name that the file had when it
/// was saved; none where its content was zipped anew without it.
fn folder(archive: &Archive) -> Option<&str> {
    let mut folders = archive
        .entries()
        .filter_map(|(name, _)| name.strip_suffix(PICKLE))
        .filter(|folder| folder.is_empty() || folder.ends_with('/'));
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Some(folder),
        _ => None,
    }
}

/// The tensors of a file of the format before PyTorch 1.6: magic number, version, facts about the
/// system, the object, the keys of its storages, and the storages in this order.
pub(super) fn read_legacy(source: &Source) -> Result<Node> {
    let bytes = source.read(0, source.len().min(MAX_PICKLE))?;
    let magic = read_pickle(source, &bytes, 0)?;
    let start = &bytes[..magic.n_bytes];
    if !contains(start, MAGIC) && !contains(start, MAGIC_TEXT) {
        let reason = "a pickle that torch.save did not write; load it in Python, and save its tensors by \
                      torch.save or safetensors";
        return Err(source.fault(0, reason));
    }
    let first = magic.n_bytes as u64;
    let mut at = magic.n_bytes;
    let mut next = || -> Result<Pickle> {
        let pickle = read_pickle(source, &bytes[at..], at as u64)?;
        at += pickle.n_bytes;
        Ok(pickle)
    };
    let (version, system, object, keys) = (next()?, next()?, next()?, next()?);
    let fault = |reason: String| source.fault(first, reason);
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

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
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
        let storage = storages.get(key).ok_or_else(|| source.fault(at, unknown(object, key)))?;
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

/// Why nothing is known of the storage `key`.
fn unknown(object: &Pickle, key: &str) -> String {
    match object.values.iter().any(|value| matches!(value, Value::Plain("reference"))) {
        true => "numbers that pickle protocol 0 cannot refer to; save it again".into(),
        false => format!("a storage `{key}` of no known type"),
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
