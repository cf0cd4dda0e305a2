//! Messages of the file that is written.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use kd_core::Result;
use kd_core::ops::onnx::{Attribute, Operator};

use super::proto::{
    AttributeProto, DimensionProto, F32, FLOAT, GraphProto, I8, I32, I64, INT, INTS, ModelProto,
    NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, U8, ValueInfoProto,
};

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
/// The symbolic size of the batch.
const BATCH: &str = "N";

pub(super) fn model(graph: GraphProto, metadata: BTreeMap<String, String>) -> ModelProto {
    let entry = |(key, value)| StringStringEntryProto { key, value };
    ModelProto {
        ir_version: IR_VERSION,
        producer_name: "kd".into(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: OPSET }],
        metadata_props: metadata.into_iter().map(entry).collect(),
    }
}

pub(super) fn node(
    name: String,
    operator: &Operator,
    input: Vec<String>,
    output: String,
) -> NodeProto {
    NodeProto {
        input,
        output: vec![output],
        name,
        op_type: operator.op_type.into(),
        attribute: operator.attributes.iter().map(attribute).collect(),
        domain: String::new(),
    }
}

fn attribute((name, value): &(&str, Attribute)) -> AttributeProto {
    let empty = AttributeProto { name: (*name).into(), ..AttributeProto::default() };
    match value {
        Attribute::Int(value) => AttributeProto { i: Some(*value), r#type: INT, ..empty },
        Attribute::Ints(values) => AttributeProto { ints: values.clone(), r#type: INTS, ..empty },
        Attribute::Float(value) => AttributeProto { f: Some(*value), r#type: FLOAT, ..empty },
    }
}

/// The tensor `name` with the values of `weight`.
pub(super) fn weight(name: String, weight: &Tensor) -> Result<TensorProto> {
    let values = weight.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(floats(name, weight.dims(), &values))
}

pub(super) fn floats(name: String, dims: &[usize], values: &[f32]) -> TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, F32, dims, bytes)
}

/// Integers along one axis.
pub(super) fn ints(name: String, values: &[i64]) -> TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, I64, &[values.len()], bytes)
}

/// `weight` divided by the scale of each output channel, in 8 bits, or in 32 where it has one axis;
/// and as many zeros of that type as there are scales.
pub(super) fn integers(
    [name, zeros]: [String; 2],
    weight: &Tensor,
    scales: &[f32],
) -> Result<[TensorProto; 2]> {
    let values = weight.flatten_all()?.to_vec1::<f32>()?;
    let each = values.len() / scales.len().max(1);
    let integer = |(i, value): (usize, &f32)| (value / scales[i / each]).round();
    let integers = values.iter().enumerate().map(integer);
    let (data_type, bytes): (i32, Vec<u8>) = match weight.rank() {
        1 => (I32, integers.flat_map(|value| (value as i32).to_le_bytes()).collect()),
        _ => (I8, integers.flat_map(|value| (value as i8).to_le_bytes()).collect()),
    };
    let size = if data_type == I32 { 4 } else { 1 };
    let zeros = tensor(zeros, data_type, &[scales.len()], vec![0; size * scales.len()]);
    Ok([tensor(name, data_type, weight.dims(), bytes), zeros])
}

/// One unsigned byte.
pub(super) fn byte(name: String, value: u8) -> TensorProto {
    tensor(name, U8, &[], vec![value])
}

fn tensor(name: String, data_type: i32, dims: &[usize], bytes: Vec<u8>) -> TensorProto {
    let dims = dims.iter().map(|dim| *dim as i64).collect();
    TensorProto { name, data_type, dims, raw_data: bytes.into(), ..TensorProto::default() }
}

/// An activation of `shape` for any size of the batch.
pub(super) fn activation(name: &str, shape: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { dim_value: None, dim_param: Some(BATCH.into()) };
    let side = |side: &usize| DimensionProto { dim_value: Some(*side as i64), dim_param: None };
    let dim = [batch].into_iter().chain(shape.iter().map(side)).collect();
    let shape = Some(TensorShapeProto { dim });
    let tensor_type = Some(TensorTypeProto { elem_type: F32, shape });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
}
