//! Reads the file and the numbers in it, both bounded.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use kd_core::{Error, Result, fsx};
use prost::Message;
use prost::bytes::Bytes;

use super::budget;
use super::constant::{Checked, Constant, n_elements};
use super::proto::{EXTERNAL, ModelProto, TensorProto};
use crate::weights::{Dtype, Source, foreign};

/// The most that a message of protocol buffers may have: 2 GiB.
pub(super) const MAX_BYTES: u64 = 2 << 30;

/// The model in the file `path`.
pub(super) fn read(path: &Path) -> Result<ModelProto> {
    let hint = "give an ONNX file, of at most 2 GiB; large weights stand in files beside it";
    let bytes = Bytes::from(fsx::read_bounded(path, MAX_BYTES, hint)?);
    if let Some(what) = foreign::what(&bytes) {
        return Err(Error::parse(path, format!("no ONNX model: {what}")));
    }
    let no_model = |reason: String| Error::parse(path, format!("no ONNX model: {reason}"));
    budget::check(&bytes).map_err(no_model)?;
    ModelProto::decode(bytes).map_err(|e| no_model(e.to_string()))
}

/// The numbers of a model's tensors, some of them in files beside it.
pub(super) struct Tensors {
    folder: PathBuf,
    /// Files beside the model, and how many bytes of each may still be asked for: no byte is two
    /// weights, so that a small file cannot stand for more memory than it has.
    files: BTreeMap<PathBuf, (Source, u64)>,
}

impl Tensors {
    /// Those of the model in `path`.
    pub(super) fn of(path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Self { folder, files: BTreeMap::new() }
    }

    /// The tensor that `proto` describes.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn read(&mut self, proto: &TensorProto) -> Checked<Constant> {
        let sides = proto.dims.iter().map(|dim| usize::try_from(*dim).ok());
        let dims: Vec<usize> =
            sides.collect::<Option<_>>().ok_or_else(|| format!("{:?} is no shape", proto.dims))?;
        let n = n_elements(&dims)?;
        let mut constant = if proto.data_location == EXTERNAL {
            raw(proto.data_type, &self.external(proto)?, &dims, n)?
        } else if proto.raw_data.is_empty() {
            typed(proto, &dims)?
        } else {
            raw(proto.data_type, &proto.raw_data, &dims, n)?
        };
        if constant.len() != n {
            return Err(format!("{} numbers for the shape {dims:?}", constant.len()));
        }
        constant.stored = dtype(proto.data_type).ok();
        constant.origin = Some(proto.name.clone()).filter(|name| !name.is_empty());
        Ok(constant)
    }

    /// The bytes of `proto` in a file beside the model.
    fn external(&mut self, proto: &TensorProto) -> Checked<Vec<u8>> {
        let entry =
            |key: &str| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| {
            let parse = |text: &str| text.parse::<u64>().map_err(|_| format!("{key} is `{text}`"));
            entry(key).map(parse).transpose()
        };
        let location = entry("location").ok_or("external data without a location")?;
        let path = inside(&self.folder, location)?;
        if !self.files.contains_key(&path) {
            let source = Source::open(&path).map_err(|e| e.to_string())?;
            let len = source.len();
            self.files.insert(path.clone(), (source, len));
        }
        let (source, left) = self.files.get_mut(&path).ok_or("external data is not open")?;
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or_else(|| source.len().saturating_sub(offset));
        *left = left.checked_sub(length).ok_or_else(|| {
            format!("more external data than the {} bytes of the file", source.len())
        })?;
        source.read(offset, length).map_err(|e| e.to_string())
    }
}

/// The file `location` in `folder`, which must not lead out of it.
fn inside(folder: &Path, location: &str) -> Checked<PathBuf> {
    let relative = Path::new(location);
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    let refused = || format!("external data in `{location}`, outside the model's folder");
    if location.is_empty() || location.contains('\\') || !relative.components().all(normal) {
        return Err(refused());
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let real = |path: &Path| path.canonicalize().map_err(|e| format!("{}: {e}", path.display()));
    let (folder, path) = (real(folder)?, real(&folder.join(relative))?);
    if path.starts_with(&folder) { Ok(path) } else { Err(refused()) }
}

/// The types of numbers that are read; the others (strings, complex numbers, 8-bit floats) are not
/// found in networks for images.
fn dtype(data_type: i32) -> Checked<Dtype> {
    Ok(match data_type {
        1 => Dtype::F32,
        2 => Dtype::U8,
        3 => Dtype::I8,
        5 => Dtype::I16,
        6 => Dtype::I32,
        7 => Dtype::I64,
        9 => Dtype::Bool,
        10 => Dtype::F16,
        11 => Dtype::F64,
        16 => Dtype::Bf16,
        other => return Err(format!("numbers of ONNX's type {other}, which is not supported")),
    })
}

/// Little-endian numbers.
fn raw(data_type: i32, bytes: &[u8], dims: &[usize], n: usize) -> Checked<Constant> {
    let dtype = dtype(data_type)?;
    if bytes.len() as u64 != dtype.size() * n as u64 {
        return Err(format!("{} bytes for {dims:?} of {dtype}", bytes.len()));
    }
    match (dtype.to_f32(bytes), dtype.to_i64(bytes)) {
        (Some(floats), _) => Ok(Constant::floats(dims, floats)),
        (None, Some(ints)) => Ok(Constant::ints(dims, ints)),
        (None, None) => Err(format!("{dtype} cannot be read")),
    }
}

/// Numbers in one of the fields for their type.
fn typed(proto: &TensorProto, dims: &[usize]) -> Checked<Constant> {
    let small = || proto.int32_data.iter();
    let bits = || small().flat_map(|bits| (*bits as u16).to_le_bytes()).collect::<Vec<u8>>();
    let dtype = dtype(proto.data_type)?;
    Ok(match dtype {
        Dtype::F32 => Constant::floats(dims, proto.float_data.clone()),
        Dtype::F64 => Constant::floats(dims, proto.double_data.iter().map(|v| *v as f32).collect()),
        Dtype::F16 | Dtype::Bf16 => {
            Constant::floats(dims, dtype.to_f32(&bits()).unwrap_or_default())
        }
        Dtype::I64 => Constant::ints(dims, proto.int64_data.clone()),
        _ => Constant::ints(dims, small().map(|v| i64::from(*v)).collect()),
    })
}

/// Whether activations of ONNX's type `data_type` are floating-point numbers.
pub(super) fn is_float(data_type: i32) -> bool {
    dtype(data_type).is_ok_and(Dtype::is_float)
}
