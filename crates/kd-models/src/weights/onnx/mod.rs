//! Export to ONNX (opset 17): a static graph from normalized images `(N, C, H, W)` to logits
//! `(N, K)`, for any batch size N.
//!
//! Key decision: the messages are our own few of onnx.proto, so that building needs no protocol
//! compiler. Batch norm is not folded into convolutions: the file shows the network as it is.

mod graph;
mod networks;
mod proto;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use kd_core::{Error, Result, fsx};
use prost::Message;

use self::graph::Graph;
use self::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use super::ExportConfig;
use crate::ModelSpec;

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
const INPUT: &str = "images";
/// The most that a message of protocol buffers may have, 2 GiB, less room for the graph.
const MAX_BYTES: usize = (2 << 30) - (64 << 20);

/// Writes the network `spec` with `weights` (under our names) as ONNX: equal input, equal bytes.
/// `config` describes the network and its images; what it says of them stands in the file's
/// metadata.
///
/// # Errors
/// [`Error::Config`] when the weights are not those of the network, or above 2 GiB;
/// [`Error::Io`]; `path` then keeps what it held before.
pub fn save_onnx(
    path: &Path,
    spec: &ModelSpec,
    weights: &BTreeMap<String, Tensor>,
    config: &ExportConfig,
) -> Result<()> {
    let n_bytes: usize = weights.values().map(|tensor| 4 * tensor.elem_count()).sum();
    if n_bytes > MAX_BYTES {
        let reason = format!("{n_bytes} bytes of weights do not fit into one ONNX file");
        return Err(Error::config("format", reason));
    }
    fsx::write_atomic(path, &model(spec, weights, config)?.encode_to_vec())
}

fn model(
    spec: &ModelSpec,
    weights: &BTreeMap<String, Tensor>,
    config: &ExportConfig,
) -> Result<ModelProto> {
    let image_shape = config.pretrained_cfg.input_size;
    let mut graph = Graph::new(weights);
    let logits = networks::network(&mut graph, spec, INPUT.into(), image_shape[1])?;
    let output = (logits, config.num_classes);
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: "kd".into(),
        graph: Some(graph.finish(&config.architecture, (INPUT, image_shape), output)),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: OPSET }],
        metadata_props: metadata(config),
    })
}

fn metadata(config: &ExportConfig) -> Vec<StringStringEntryProto> {
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
    let list = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
    let images = &config.pretrained_cfg;
    let mut entries = vec![entry("architecture", config.architecture.clone())];
    for (key, values) in [("mean", &images.mean), ("std", &images.std)] {
        entries.extend(values.as_deref().map(|values| entry(key, list(values))));
    }
    entries
}

#[cfg(test)]
mod tests;
