//! safetensors: a JSON header with types, shapes and offsets, then the numbers.

use kd_core::Result;
use kd_core::checkpoint::Description;
use safetensors::tensor::{Dtype as Kind, Metadata, TensorInfo};

use super::Dtype;
use super::checked::Checked;
use super::source::Source;
use super::stored::{Span, Stored};
use super::tree::{Dict, Node, check_name};

/// Bytes of the header; a network of 10,000 tensors has about one million.
const MAX_HEADER: u64 = 8 << 20;
/// Key of the header's metadata under which our own files say what network they are of.
pub(super) const NETWORK: &str = "kd.network";
/// Bytes of the header's length.
const PREFIX: u64 = 8;

/// Whether `start` (the first bytes of a file) may start a safetensors file.
pub(super) fn recognizes(start: &[u8]) -> bool {
    start.get(PREFIX as usize) == Some(&b'{')
}

/// The tensors of a safetensors file, and what network it says they are of.
pub(super) fn read(source: &Source) -> Result<(Node, Option<Description>)> {
    let prefix = source.read(0, PREFIX)?;
    let n = prefix.try_into().map_or(u64::MAX, u64::from_le_bytes);
    if n > MAX_HEADER {
        return Err(source.fault(0, format!("a header of {n} bytes, more than {MAX_HEADER}")));
    }
    let header = source.read(PREFIX, n)?;
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|e| source.fault(PREFIX, format!("header: {e}")))?;
    let start = PREFIX + n;
    let expected = start + metadata.data_len() as u64;
    if expected != source.len() {
        let cut = if expected > source.len() { "cut short: " } else { "" };
        let reason = format!("{cut}{} bytes, but its header says {expected}", source.len());
        return Err(source.fault(source.len(), reason));
    }
    let mut dict = Dict::new();
    for (name, info) in metadata.tensors() {
        let node = check_name(&name)
            .and_then(|_| tensor(info, start))
            .map_err(|reason| source.fault(PREFIX, format!("{:?}: {reason}", shortened(&name))))?;
        dict.insert(name, node);
    }
    let network = metadata.metadata().as_ref().and_then(|texts| texts.get(NETWORK));
    let network = network.map(|text| description(text)).transpose();
    let network = network.map_err(|reason| source.fault(PREFIX, format!("{NETWORK}: {reason}")))?;
    Ok((Node::Dict(dict), network))
}

fn description(text: &str) -> Checked<Description> {
    let network: Description = serde_json::from_str(text).map_err(|e| e.to_string())?;
    network.check().map_err(|e| e.to_string())?;
    Ok(network)
}

fn tensor(info: &TensorInfo, start: u64) -> Checked<Node> {
    let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
    let span = Span { offset: start + from, n_bytes: to - from };
    match dtype(info.dtype) {
        Some(dtype) => Ok(Node::Tensor(Stored::contiguous(dtype, info.shape.clone(), span)?)),
        None => Ok(Node::Other(format!("numbers of type {}", info.dtype))),
    }
}

fn dtype(kind: Kind) -> Option<Dtype> {
    Some(match kind {
        Kind::F64 => Dtype::F64,
        Kind::F32 => Dtype::F32,
        Kind::F16 => Dtype::F16,
        Kind::BF16 => Dtype::Bf16,
        Kind::I64 => Dtype::I64,
        Kind::I32 => Dtype::I32,
        Kind::I16 => Dtype::I16,
        Kind::I8 => Dtype::I8,
        Kind::U8 => Dtype::U8,
        Kind::BOOL => Dtype::Bool,
        Kind::U16 => Dtype::U16,
        Kind::U32 => Dtype::U32,
        Kind::U64 => Dtype::U64,
        Kind::C64 => Dtype::Complex64,
        Kind::F8_E5M2 | Kind::F8_E4M3 | Kind::F8_E8M0 | Kind::F8_E4M3FNUZ | Kind::F8_E5M2FNUZ => {
            Dtype::F8
        }
        _ => return None,
    })
}

fn shortened(name: &str) -> String {
    name.chars().take(80).collect()
}
