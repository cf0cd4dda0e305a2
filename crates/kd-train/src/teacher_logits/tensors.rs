//! The header of safetensors files.

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::layout::{Kind, Layout, Place};

/// Key of the metadata under which a file says which list of images its rows follow.
pub(super) const LIST: &str = "kd.views";
/// The tensor that is taken where there are several.
const LOGITS: &str = "logits";
/// Bytes of the header's length.
const PREFIX: usize = 8;
/// Bytes of the header at most.
const MAX_HEADER: usize = 1 << 20;

/// Where the numbers of the file lie that begins with `start`, and what they are.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn layout(start: &[u8]) -> Result<Layout, String> {
    let prefix = start.first_chunk::<PREFIX>().ok_or("cut short within its header")?;
    let n = u64::from_le_bytes(*prefix);
    if n > MAX_HEADER as u64 {
        return Err(format!("no logits: a header of {n} bytes, more than {MAX_HEADER}"));
    }
    let end = PREFIX + n as usize;
    let header = start.get(PREFIX..end).ok_or("cut short within its header")?;
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|e| format!("its header: {e}"))?;
    let tensors = metadata.tensors();
    let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
    let name = match &names[..] {
        [name] => name,
        _ if names.contains(&LOGITS) => LOGITS,
        _ => return Err(format!("holds {} tensors, none called `{LOGITS}`", names.len())),
    };
    let TensorInfo { dtype, shape, data_offsets: (from, to) } = tensors[name];
    let kind = match dtype {
        Dtype::F16 => Kind::F16,
        Dtype::F32 => Kind::F32,
        Dtype::F64 => Kind::F64,
        other => return Err(format!("`{name}` has numbers of type {other}; save it as F32")),
    };
    let place = Place { start: (end + from) as u64, n_bytes: Some((to - from) as u64) };
    let list = metadata.metadata().as_ref().and_then(|texts| texts.get(LIST)).cloned();
    Ok(Layout { kind, shape: shape.clone(), place, list })
}
