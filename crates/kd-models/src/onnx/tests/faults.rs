//! Files that are damaged, hostile, or sound but not supported.

use std::path::Path;

use kd_core::Error;
use proptest::prelude::*;
use prost::Message;

use super::golden::folder;
use crate::onnx::encode;
use crate::onnx::proto::{
    AttributeProto, FLOAT, GraphProto, INT, INTS, ModelProto, NodeProto, STRING,
    StringStringEntryProto, TensorProto,
};
use crate::onnx::{ImportOptions, import};

fn node(op_type: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: format!("my_{}", op_type.to_lowercase()),
        op_type: op_type.to_owned(),
        attribute,
        domain: String::new(),
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: Some(value), r#type: INT, ..Default::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let ints = values.to_vec();
    AttributeProto { name: name.into(), ints, r#type: INTS, ..Default::default() }
}

fn text(name: &str, value: &str) -> AttributeProto {
    let s = Some(value.as_bytes().to_vec());
    AttributeProto { name: name.into(), s, r#type: STRING, ..Default::default() }
}

/// Images (N, 2, 4, 4), `nodes`, and flattening of `x` to the output.
fn model(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let mut nodes = nodes;
    nodes.push(node("Flatten", &["x"], "y", vec![]));
    let graph = GraphProto {
        node: nodes,
        name: "g".into(),
        initializer,
        input: vec![encode::activation("images", &[2, 4, 4])],
        output: vec![encode::activation("y", &[32])],
    };
    encode::model(graph, std::collections::BTreeMap::new())
}

fn import_model(folder: &Path, model: &ModelProto) -> kd_core::Result<crate::onnx::Imported> {
    let path = folder.join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    import(&path, &ImportOptions::default())
}

#[track_caller]
fn refused(model: &ModelProto, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let error = import_model(folder.path(), model).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::Config { .. } | Error::Parse { .. }), "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let floats = |n: usize| encode::floats("c".into(), &[n], &vec![1.0; n]);
    let one = |node: NodeProto| model(vec![node], vec![floats(3)]);
    refused(
        &one(node("Einsum", &["images"], "x", vec![])),
        &["my_einsum", "Einsum", "is not supported; supported are Add, AveragePool", "Unsqueeze"],
    );
    let relu = node("Relu", &["images"], "x", vec![int("shape", 1)]);
    refused(&one(relu), &["my_relu", "attribute `shape`"]);
    let tanh = node("Gelu", &["images"], "x", vec![text("approximate", "tanh")]);
    refused(&one(tanh), &["my_gelu", "tanh", "none"]);
    refused(&one(node("Pow", &["images", "c"], "x", vec![])), &["my_pow", "do not fit"]);
    refused(&one(node("Add", &["images", "none"], "x", vec![])), &["my_add", "`none`"]);
    let pool = [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let padded = [int("ceil_mode", 1), int("count_include_pad", 1), ints("pads", &[1, 1, 1, 1])];
    let wide = [ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])];
    let attributes = wide.into_iter().chain(padded).collect();
    refused(&one(node("AveragePool", &["images"], "x", attributes)), &["ceil_mode"]);
    let dilated = pool.iter().cloned().chain([ints("dilations", &[2, 2])]).collect();
    refused(&one(node("MaxPool", &["images"], "x", dilated)), &["dilations"]);
    let reflect = vec![text("mode", "reflect"), ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])];
    refused(&one(node("Pad", &["images"], "x", reflect)), &["my_pad", "zeros"]);
    let over_batch = vec![ints("axes", &[0]), int("keepdims", 1)];
    refused(&one(node("ReduceMean", &["images"], "x", over_batch)), &["my_reducemean"]);
    let swapped = vec![ints("perm", &[0, 1, 3, 2])];
    refused(&one(node("Transpose", &["images"], "x", swapped)), &["my_transpose", "perm"]);
    let alpha =
        AttributeProto { name: "alpha".into(), f: Some(2.0), r#type: FLOAT, ..Default::default() };
    let flat = node("Flatten", &["images"], "f", vec![]);
    let gemm = node("Gemm", &["f", "w"], "x", vec![alpha]);
    let weight = encode::floats("w".into(), &[32, 3], &[0.5; 96]);
    refused(&model(vec![flat, gemm], vec![weight]), &["my_gemm", "`alpha` is 2"]);
}

#[test]
fn a_graph_that_is_none_is_refused() {
    let relu = |input: &str, output: &str| node("Relu", &[input], output, vec![]);
    refused(&model(vec![relu("later", "x")], vec![]), &["`later` before it is there"]);
    let twice = vec![relu("images", "x"), relu("images", "x")];
    refused(&model(twice, vec![]), &["defines `x`", "already"]);
    let tensor = || encode::floats("a".into(), &[1], &[1.0]);
    refused(&model(vec![relu("images", "x")], vec![tensor(), tensor()]), &["`a`", "two"]);
    let mut wrong = tensor();
    wrong.dims = vec![1 << 40, 1 << 40];
    refused(&model(vec![relu("images", "x")], vec![wrong.clone()]), &["larger"]);
    wrong.dims = vec![-1];
    refused(&model(vec![relu("images", "x")], vec![wrong.clone()]), &["no shape"]);
    wrong.dims = vec![7];
    refused(&model(vec![relu("images", "x")], vec![wrong]), &["4 bytes"]);
    let mut old = model(vec![relu("images", "x")], vec![]);
    old.opset_import[0].version = 6;
    refused(&old, &["opset 6"]);
    let mut open = model(vec![relu("images", "x")], vec![]);
    let graph = open.graph.as_mut().unwrap();
    let tensor_type = graph.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    tensor_type.shape.as_mut().unwrap().dim[2].dim_value = None;
    refused(&open, &["give their shape"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, open.encode_to_vec()).unwrap();
    let options = ImportOptions { image_shape: Some([2, 4, 4]) };
    assert_eq!(import(&path, &options).unwrap().graph.image_shape, [2, 4, 4]);
    let options = ImportOptions { image_shape: Some([3, 4, 4]) };
    assert!(import(&path, &options).is_err());
    assert!(matches!(import(&folder.path().join("no"), &options), Err(Error::Missing { .. })));
}

/// A shape may pass the number of images on; nothing else may know it.
#[test]
fn numbers_that_depend_on_the_batch_are_refused() {
    let start =
        || vec![node("Shape", &["images"], "s", vec![]), node("Gather", &["s", "i"], "n", vec![])];
    let index = || encode::ints("i".into(), &[0]);
    let mut nodes = start();
    nodes.push(node("Cast", &["n"], "f", vec![int("to", 1)]));
    nodes.push(node("Add", &["images", "f"], "x", vec![]));
    refused(&model(nodes, vec![index()]), &["my_add", "number of images"]);
    let mut nodes = start();
    nodes.push(node("Concat", &["n", "rest"], "to", vec![int("axis", 0)]));
    nodes.push(node("Reshape", &["images", "to"], "x", vec![]));
    let rest = encode::ints("rest".into(), &[-1]);
    let folder = tempfile::tempdir().unwrap();
    let passes = model(nodes, vec![index(), rest]);
    assert_eq!(import_model(folder.path(), &passes).unwrap().graph.n_classes().unwrap(), 32);
    let fixed = encode::ints("to".into(), &[7, -1]);
    let reshape = node("Reshape", &["images", "to"], "x", vec![]);
    refused(&model(vec![reshape], vec![fixed]), &["my_reshape"]);
}

#[test]
fn external_data_stays_in_the_models_folder_and_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(folder.path().join("secret"), [0; 64]).unwrap();
    std::fs::write(inner.join("data"), [0; 64]).unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), inner.join("link")).unwrap();
    let absolute = folder.path().join("secret").display().to_string();
    let import = |entries: &[(&str, &str)], n: usize| {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
            key: (*key).into(),
            value: (*value).into(),
        };
        let tensors = (0..n).map(|i| TensorProto {
            name: format!("w{i}"),
            dims: vec![8],
            data_type: 1,
            data_location: 1,
            external_data: entries.iter().map(entry).collect(),
            ..Default::default()
        });
        let relu = node("Relu", &["images"], "x", vec![]);
        import_model(&inner, &model(vec![relu], tensors.collect())).map_err(|e| e.to_string())
    };
    assert!(import(&[("location", "data"), ("offset", "32"), ("length", "32")], 1).is_ok());
    for location in ["../secret", &absolute, "link", "inner/../../secret", "", "a\\b"] {
        let error = import(&[("location", location)], 1).unwrap_err();
        assert!(error.contains("outside the model's folder"), "{location}: {error}");
    }
    for (offset, length) in [("48", "32"), ("18446744073709551615", "32"), ("x", "32")] {
        let entries = [("location", "data"), ("offset", offset), ("length", length)];
        assert!(import(&entries, 1).is_err(), "{offset}");
    }
    let all = [("location", "data"), ("offset", "0"), ("length", "32")];
    assert!(import(&all, 2).is_ok());
    assert!(import(&all, 3).unwrap_err().contains("more external data"));
    assert!(import(&[("location", "data"), ("length", "16")], 1).unwrap_err().contains("16 bytes"));
    assert!(import(&[("location", "none")], 1).is_err());
}

/// Two bytes in the file, hundreds in memory: refused before they are made.
#[test]
fn a_flood_of_empty_messages_is_refused() {
    // Field 7, the graph, of so many empty nodes (field 1).
    let n = 3usize << 20;
    let mut bytes = vec![0x3a];
    prost::encoding::encode_varint(2 * n as u64, &mut bytes);
    bytes.extend([0x0a, 0x00].repeat(n));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flood.onnx");
    std::fs::write(&path, bytes).unwrap();
    let error = import(&path, &ImportOptions::default()).unwrap_err();
    assert!(error.to_string().contains("more than any network"), "{error}");
}

/// Deeply nested messages end in an error, not in a full stack.
#[test]
fn nesting_is_bounded() {
    // Field 7 (the graph), field 1 (a node), field 5 (an attribute), and then groups that begin.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.onnx");
    std::fs::write(&path, vec![0x63; 1 << 20]).unwrap();
    assert!(matches!(import(&path, &ImportOptions::default()), Err(Error::Parse { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to a file, it is read or refused; a network that comes out computes.
    #[test]
    fn damaged_files_never_panic(
        file in prop::sample::select(vec![
            "residual.kept", "shuffled.kept", "scaled.old", "one-sided.kept", "gated.dynamo", "dense.kept",
        ]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let mut bytes = std::fs::read(folder().join(format!("{file}.onnx"))).unwrap();
        for (at, value) in &flips {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, bytes).unwrap();
        match import(&path, &ImportOptions::default()) {
            Ok(imported) => {
                prop_assert!(imported.graph.n_classes().is_ok());
                prop_assert!(imported.graph.param_shapes().unwrap().keys().eq(imported.weights.keys()));
            }
            Err(error) => prop_assert!(matches!(error, Error::Config { .. } | Error::Parse { .. }), "{error}"),
        }
    }
}
