use std::collections::BTreeSet;

use candle_core::Device;
use kd_core::{Classifier, Stream};

use super::proto::{GraphProto, NodeProto};
use super::*;
use crate::weights::ImageConfig;

fn build(name: &str, shape: [usize; 3]) -> (ModelSpec, Box<dyn Classifier>, ExportConfig) {
    let spec = ModelSpec::from_name(name).unwrap();
    let network = spec.as_dyn().build(shape, 10, Stream::new(1), &Device::Cpu).unwrap();
    let (mean, std) = (Some(vec![0.485; shape[0]]), Some(vec![0.25; shape[0]]));
    let images = ImageConfig { input_size: shape, mean, std, num_classes: 10 };
    let architecture = name.to_owned();
    (spec, network, ExportConfig { architecture, num_classes: 10, pretrained_cfg: images })
}

fn exported(name: &str, shape: [usize; 3]) -> (GraphProto, BTreeMap<String, Tensor>) {
    let (spec, network, config) = build(name, shape);
    let tensors = network.params().tensors();
    let model = model(&spec, &tensors, &config).unwrap();
    let again = ModelProto::decode(&model.encode_to_vec()[..]).unwrap();
    assert_eq!(again, model, "{name}");
    (model.graph.unwrap(), tensors)
}

/// Number of nodes of one type.
fn count(graph: &GraphProto, op_type: &str) -> usize {
    graph.node.iter().filter(|node| node.op_type == op_type).count()
}

/// What a checker of ONNX asks for: names are given once, and before they are used.
fn check(graph: &GraphProto, name: &str) {
    let mut known: BTreeSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    for tensor in &graph.initializer {
        assert!(known.insert(&tensor.name), "{name}: {} twice", tensor.name);
    }
    for NodeProto { input, output, name: node, .. } in &graph.node {
        for value in input {
            assert!(known.contains(value.as_str()), "{name}: {node} reads {value}");
        }
        for value in output {
            assert!(known.insert(value), "{name}: {value} twice");
        }
    }
    assert!(known.contains(graph.output[0].name.as_str()), "{name}");
}

#[test]
fn every_network_is_a_graph_that_uses_every_weight() {
    for (name, shape) in [
        ("mlp-30-20", [1, 28, 28]),
        ("papernot-mnist", [1, 28, 28]),
        ("papernot-cifar10", [3, 32, 32]),
        ("vgg8", [3, 32, 32]),
        ("vgg13", [3, 64, 64]),
        ("wrn-16-2", [3, 32, 32]),
        ("resnet8", [3, 32, 32]),
        ("resnet20-b", [3, 32, 32]),
        ("resnet18-cifar-w16", [3, 32, 32]),
        ("resnet18-w16", [3, 64, 64]),
        ("resnet50-cifar-w16", [3, 32, 32]),
    ] {
        let (graph, tensors) = exported(name, shape);
        check(&graph, name);
        let used: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        for weight in tensors.keys() {
            assert!(used.contains(weight.as_str()), "{name}: {weight} is not used");
        }
    }
}

#[test]
fn a_small_resnet_has_the_operators_of_its_paper() {
    let (graph, tensors) = exported("resnet20", [3, 32, 32]);
    let counts = ["Conv", "BatchNormalization", "Relu", "Add", "Slice", "Pad", "Gemm"]
        .map(|op_type| count(&graph, op_type));
    assert_eq!(counts, [19, 19, 19, 9, 2, 2, 1]);
    let dims = |dims: &[usize]| dims.iter().map(|&d| d as i64).collect::<Vec<_>>();
    for tensor in graph.initializer.iter().filter(|tensor| tensors.contains_key(&tensor.name)) {
        let weight = &tensors[&tensor.name];
        assert_eq!(tensor.dims, dims(weight.dims()), "{}", tensor.name);
        let values = weight.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(
            tensor.raw_data,
            values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>()
        );
    }
}

#[test]
fn files_are_byte_stable_and_describe_their_images() {
    let folder = tempfile::tempdir().unwrap();
    let (spec, network, config) = build("resnet8", [3, 32, 32]);
    let files = ["a.onnx", "b.onnx"].map(|name| {
        let path = folder.path().join(name);
        save_onnx(&path, &spec, &network.params().tensors(), &config).unwrap();
        std::fs::read(path).unwrap()
    });
    assert_eq!(files[0], files[1]);
    let model = ModelProto::decode(&files[0][..]).unwrap();
    let entries = model.metadata_props.iter().map(|e| (e.key.as_str(), e.value.as_str()));
    let want =
        [("architecture", "resnet8"), ("mean", "0.485,0.485,0.485"), ("std", "0.25,0.25,0.25")];
    assert_eq!(entries.collect::<Vec<_>>(), want);
}

#[test]
fn weights_of_another_network_are_refused() {
    let (spec, _, config) = build("resnet20", [3, 32, 32]);
    let (_, other, _) = build("mlp-5", [3, 32, 32]);
    assert!(model(&spec, &other.params().tensors(), &config).is_err());
}
