//! From graph to file and back.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use kd_core::graph::{Graph, IMAGES, Node};
use kd_core::ops::{Conv2d, Flatten, Init, Linear, Op};
use kd_core::testing::random;
use kd_core::{Classifier, Mode, Net, Stream};

use super::golden::{difference, floats, folder, net};
use crate::ModelSpec;
use crate::onnx::{ExportInfo, ImportOptions, Imported, import, save};

/// Written and read again.
fn again(graph: &Graph, weights: &BTreeMap<String, Tensor>, info: &ExportInfo) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.onnx");
    save(&path, graph, weights, info).unwrap_or_else(|e| panic!("{e}"));
    import(&path, &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The nodes with numbers for names; without dropout and how weights begin.
fn anonymous(graph: &Graph) -> Vec<(Op, Vec<usize>)> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::from([(IMAGES, 0)]);
    let mut nodes = Vec::new();
    for Node { name, op, inputs } in &graph.nodes {
        let inputs: Vec<usize> = inputs.iter().map(|input| numbers[input.as_str()]).collect();
        if matches!(op, Op::Dropout(_)) {
            numbers.insert(name, inputs[0]);
            continue;
        }
        let init = Init::Pytorch;
        let op = match op.clone() {
            Op::Conv2d(conv) => Conv2d { weight_init: init, bias_init: init, ..conv }.into(),
            Op::Linear(linear) => Linear { weight_init: init, bias_init: init, ..linear }.into(),
            other => other,
        };
        nodes.push((op, inputs));
        numbers.insert(name, nodes.len());
    }
    nodes
}

fn logits(net: &Net, images: &Tensor) -> Vec<f64> {
    floats(&net.forward(images, Mode::Eval).unwrap())
}

fn check(name: &str, graph: &Graph, weights: &BTreeMap<String, Tensor>) -> Imported {
    let other = again(graph, weights, &ExportInfo::default());
    assert_eq!(anonymous(graph), anonymous(&other.graph), "{name}");
    let [c, h, w] = graph.image_shape;
    let images = random(Stream::new(3), &[2, c, h, w]);
    let own = Net::with_weights(graph.clone(), weights, &Device::Cpu).unwrap();
    let far = difference(&logits(&net(&other), &images), &logits(&own, &images));
    assert!(far < 1e-6, "{name}: {far}");
    other
}

#[test]
fn every_family_comes_back_under_its_names() {
    for (name, shape) in [
        ("mlp-30-20", [1, 28, 28]),
        ("papernot-mnist", [1, 28, 28]),
        ("papernot-cifar10", [3, 32, 32]),
        ("vgg8", [3, 32, 32]),
        ("wrn-16-2", [3, 32, 32]),
        ("resnet8", [3, 32, 32]),
        ("resnet20-b", [3, 32, 32]),
        ("resnet8x4", [3, 32, 32]),
        ("resnet18-w16", [3, 64, 64]),
        ("resnet50-cifar-w16", [3, 32, 32]),
        ("mobilenet-v2-w0.5", [3, 64, 64]),
        ("mobilenet-v2-cifar-w0.5", [3, 32, 32]),
        ("shufflenet-v2-x0.5", [3, 64, 64]),
        ("shufflenet-v1-cifar", [3, 32, 32]),
        ("shufflenet-v2-cifar", [3, 32, 32]),
        ("efficientnet-lite0", [3, 64, 64]),
        ("squeezenet1.1", [3, 64, 64]),
    ] {
        let spec = ModelSpec::from_name(name).unwrap_or_else(|| panic!("{name}"));
        let graph = spec.as_dyn().graph(shape, 10).unwrap();
        let graph = graph.normalized(&vec![0.4; shape[0]], &vec![0.3; shape[0]]).unwrap();
        let weights = Net::new(graph.clone(), Stream::new(1), &Device::Cpu).unwrap();
        let weights = weights.params().tensors();
        let other = check(name, &graph, &weights);
        assert!(other.weights.keys().eq(weights.keys()), "{name}");
    }
}

#[test]
fn every_golden_file_comes_back() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.extension() == Some("onnx".as_ref())) {
        let imported = import(&path, &ImportOptions::default()).unwrap();
        check(&path.display().to_string(), &imported.graph, &imported.weights);
    }
}

/// On maps of features, and on vectors where it takes them.
#[test]
fn every_operation_can_be_written() {
    for op in Op::all() {
        let mut op = op;
        if let Op::Normalize(normalize) = &mut op {
            (normalize.mean, normalize.std) = (vec![0.25; 4], vec![0.5; 4]);
        }
        let mut n_tried = 0;
        for on_vectors in [false, true] {
            let mut graph = Graph::new([4, 8, 8]);
            let first = if on_vectors { Op::from(Flatten {}) } else { Conv2d::new(4, 1).into() };
            let first = match op {
                Op::Normalize(_) => IMAGES.to_owned(),
                _ => graph.then("first", first),
            };
            let inputs = vec![first.as_str(); op.as_dyn().n_inputs().0];
            graph.push("tried", op.clone(), &inputs);
            graph.then("flat", Flatten {});
            if graph.shapes().is_err() {
                continue;
            }
            let weights = Net::new(graph.clone(), Stream::new(2), &Device::Cpu).unwrap();
            let weights = weights.params().tensors();
            let other = again(&graph, &weights, &ExportInfo::default());
            let images = random(Stream::new(3), &[2, 4, 8, 8]);
            let own = Net::with_weights(graph.clone(), &weights, &Device::Cpu).unwrap();
            let far = difference(&logits(&net(&other), &images), &logits(&own, &images));
            assert!(far < 1e-6, "{}: {far}", op.name());
            n_tried += 1;
        }
        assert!(n_tried > 0, "{} was never tried", op.name());
    }
}

#[test]
fn files_are_byte_stable_and_say_what_a_user_must_know() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = Graph::new([1, 2, 2]);
    graph.then("flat", Flatten {});
    graph.then("fc", Linear::new(2));
    let graph = graph.normalized(&[0.5], &[0.25]).unwrap();
    let weights = Net::new(graph.clone(), Stream::new(1), &Device::Cpu).unwrap();
    let weights = weights.params().tensors();
    let info = ExportInfo {
        class_names: Some(vec!["cat".into(), "a \"dog\"".into()]),
        resize: Some(5),
        temperature: Some(1.25),
        provenance: [("commit".to_owned(), "abc".to_owned())].into(),
        softmax_temperature: Some(4.0),
    };
    let files = ["a.onnx", "b.onnx"].map(|name| {
        let path = folder.path().join(name);
        save(&path, &graph, &weights, &info).unwrap();
        std::fs::read(path).unwrap()
    });
    assert_eq!(files[0], files[1]);
    let model = crate::onnx::model::Model::open(&folder.path().join("a.onnx")).unwrap();
    let entries = model.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let want = [
        ("class_names", "[\"cat\",\"a \\\"dog\\\"\"]"),
        ("commit", "abc"),
        ("input_range", "[0, 1]"),
        ("mean", "[0.5]"),
        ("resize", "5"),
        ("std", "[0.25]"),
        ("temperature", "1.25"),
    ];
    assert_eq!(entries.collect::<Vec<_>>(), want);
    assert_eq!(model.output, "probabilities");

    let imported = import(&folder.path().join("a.onnx"), &ImportOptions::default()).unwrap();
    assert_eq!(imported.info.class_names, info.class_names);
    assert_eq!((imported.info.resize, imported.info.temperature), (Some(5), Some(1.25)));
    assert_eq!(imported.graph.normalization(), graph.normalization());
    assert!(imported.notes[0].contains("softmax"), "{:?}", imported.notes);
    let images = random(Stream::new(5), &[3, 1, 2, 2]);
    let own = Net::with_weights(graph, &weights, &Device::Cpu).unwrap();
    let cold = (own.forward(&images, Mode::Eval).unwrap() / 4.0).unwrap();
    let exp = cold.exp().unwrap();
    let want = exp.broadcast_div(&exp.sum_keepdim(1).unwrap()).unwrap();
    assert!(difference(&logits(&net(&imported), &images), &floats(&want)) < 1e-6);
}

#[test]
fn weights_of_another_network_are_refused() {
    let mut graph = Graph::new([1, 2, 2]);
    graph.then("flat", Flatten {});
    graph.then("fc", Linear::new(2));
    let net = Net::new(graph.clone(), Stream::new(1), &Device::Cpu).unwrap();
    let weights = net.params().tensors();
    let path = std::path::Path::new("never-written.onnx");
    let mut fewer = weights.clone();
    fewer.remove("fc.bias");
    let mut more = weights.clone();
    more.insert("other".into(), weights["fc.bias"].clone());
    let mut wrong = weights.clone();
    wrong.insert("fc.bias".into(), weights["fc.weight"].clone());
    for weights in [fewer, more, wrong] {
        assert!(save(path, &graph, &weights, &ExportInfo::default()).is_err());
    }
    let info = ExportInfo { class_names: Some(vec!["one".into()]), ..ExportInfo::default() };
    assert!(save(path, &graph, &weights, &info).is_err());
    assert!(!path.exists());
}
