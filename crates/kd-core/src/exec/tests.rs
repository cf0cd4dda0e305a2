use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use super::*;
use crate::graph::{Graph, IMAGES};
use crate::ops::{
    Add, BatchNorm, Concat, Conv2d, ConvSums, Dropout, Flatten, GlobalAvgPool, Init, Linear,
    MaxPool, Op, Relu,
};
use crate::testing::{check_grad, random};
use crate::{Classifier, Mode, Result, Stream};

const BATCH: [usize; 4] = [3, 2, 7, 6];

fn train() -> Mode {
    Mode::Train(Stream::new(0))
}

pub(super) fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

pub(super) fn close(got: &[f32], want: &[f32], what: &str) {
    let scale = want.iter().fold(1e-3f32, |m, w| m.max(w.abs()));
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-4 * scale, "{what}: {got}, not {want}");
    }
}

/// Two residual blocks, one with a projection, pooling and a hidden layer with dropout.
pub(super) fn graph() -> Graph {
    let mut graph = Graph::new([2, 7, 6]);
    graph.then("conv1", Conv2d::new(4, 3).padding(1));
    graph.then("bn1", BatchNorm::default());
    let x = graph.then("stem", Relu {});
    graph.then("a.conv1", Conv2d::new(4, 3).padding(1));
    graph.then("a.bn1", BatchNorm::default());
    let y = graph.then("a.relu", Relu {});
    graph.push("a.conv2", Conv2d::new(4, 3).padding(1).bias(Init::Pytorch), &[&y]);
    let y = graph.then("a.bn2", BatchNorm::default());
    graph.push("a.add", Add {}, &[&y, &x]);
    let x = graph.then("a", Relu {});
    graph.then("b.conv1", Conv2d::new(6, 3).stride(2).padding(1));
    let y = graph.then("b.bn1", BatchNorm::default());
    graph.push("b.proj", Conv2d::new(6, 1).stride(2), &[&x]);
    let z = graph.then("b.projbn", BatchNorm::default());
    graph.push("b.add", Add {}, &[&y, &z]);
    graph.then("b", Relu {});
    graph.then("max", MaxPool::new(2, 1, 0));
    graph.then("pool", GlobalAvgPool {});
    graph.then("flat", Flatten {});
    graph.then("fc1", Linear::new(8));
    graph.then("fc1.relu", Relu {});
    graph.then("drop", Dropout { p: 0.25, stream: Some(3) });
    graph.then("fc2", Linear::new(3));
    graph
}

/// The network with lively values everywhere.
fn net() -> Net {
    let net = Net::new(graph(), Stream::new(3), &Device::Cpu).unwrap();
    let lively = |(name, value): (String, Tensor)| {
        let drawn = random(Stream::new(9).at(&name), value.dims());
        let positive = name.ends_with("var") || (name.contains("bn") && name.ends_with("weight"));
        let value = match positive {
            true => (drawn.abs().unwrap() + 0.5).unwrap(),
            false => (drawn * 0.5).unwrap(),
        };
        (name, value)
    };
    let values = net.params().tensors().into_iter().map(lively).collect();
    net.params().load(&values).unwrap();
    net
}

/// The same, one operation after the other, each a graph of one node.
fn one_by_one(
    net: &Net,
    params: &BTreeMap<String, Tensor>,
    x: &Tensor,
    mode: &dyn Fn(&str) -> Mode,
) -> Tensor {
    let nhwc = x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
    let mut known = BTreeMap::from([(IMAGES.to_owned(), nhwc)]);
    let shapes = net.graph().shapes().unwrap();
    for node in &net.graph().nodes {
        let inputs: Vec<&Tensor> = node.inputs.iter().map(|name| &known[name]).collect();
        let specs = node.op.as_dyn().params(&shapes.inputs(node));
        let own = specs.iter().map(|spec| &params[&format!("{}.{}", node.name, spec.name)]);
        let own: Vec<&Tensor> = own.collect();
        let y = apply(node.op.clone(), &inputs, &own, mode(&node.name)).unwrap();
        known.insert(node.name.clone(), y);
    }
    known[&net.graph().output].clone()
}

/// Output, gradient of the images, gradients by name.
type Outcome = (Vec<f32>, Vec<f32>, BTreeMap<String, Vec<f32>>);

fn joined(net: &Net, x: &Tensor, mode: Mode) -> Outcome {
    outcome(net, x, |x| net.forward(x, mode).unwrap())
}

fn outcome(net: &Net, x: &Tensor, run: impl Fn(&Tensor) -> Tensor) -> Outcome {
    let x = Var::from_tensor(x).unwrap();
    let y = run(&x);
    let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let of = net.params().iter();
    let of = of.filter_map(|(name, p)| Some((name.to_owned(), floats(p.grad().get()?))));
    (floats(&y), floats(grads.get(&x).unwrap()), of.collect())
}

fn separate(net: &Net, x: &Tensor, mode: &dyn Fn(&str) -> Mode) -> Outcome {
    let x = Var::from_tensor(x).unwrap();
    let params: BTreeMap<String, Var> = net
        .params()
        .tensors()
        .into_iter()
        .map(|(name, value)| (name, Var::from_tensor(&value).unwrap()))
        .collect();
    let tensors = params.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
    let y = one_by_one(net, &tensors.collect(), &x, mode);
    let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let of = params.iter().filter_map(|(name, var)| Some((name.clone(), floats(grads.get(var)?))));
    (floats(&y), floats(grads.get(&x).unwrap()), of.collect())
}

#[test]
fn a_graph_computes_on_maps_as_a_network_on_images() {
    for mode in [train(), Mode::Eval] {
        let (x, own) = (random(Stream::new(1), &BATCH), net());
        let on_maps = |x: &Tensor| {
            let maps = x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
            own.graph().apply(&maps, own.params(), mode).unwrap()
        };
        check_equal(outcome(&own, &x, on_maps), joined(&net(), &x, mode));
    }
    let transposed = random(Stream::new(1), &BATCH);
    let refused = net().graph().apply(&transposed, net().params(), train()).unwrap_err();
    assert!(refused.to_string().contains("[3, 7, 6, 2]"), "{refused}");
    let maps = random(Stream::new(1), &[3, 7, 6, 2]);
    let refused = net().graph().apply(&maps, &crate::Params::new(), train()).unwrap_err();
    assert!(refused.to_string().contains("conv1.weight"), "{refused}");
}

/// Compares the network with its operations one by one.
fn check_joined(net: &Net, x: &Tensor, mode: Mode) {
    check_equal(joined(net, x, mode), separate(net, x, &|_| mode));
}

fn check_equal(got: Outcome, want: Outcome) {
    close(&got.0, &want.0, "output");
    close(&got.1, &want.1, "images");
    assert_eq!(got.2.keys().collect::<Vec<_>>(), want.2.keys().collect::<Vec<_>>());
    for (name, want) in &want.2 {
        close(&got.2[name], want, name);
    }
}

#[test]
fn joining_changes_no_value_and_no_gradient() {
    let x = random(Stream::new(1), &BATCH);
    for mode in [train(), Mode::Eval] {
        check_joined(&net(), &x, mode);
    }
}

/// More values than a convolution takes at once.
#[test]
fn paths_meet_in_every_block_of_images() {
    let mut graph = Graph::new([4, 64, 64]);
    graph.then("stem", Conv2d::new(8, 3).padding(1));
    let x = graph.then("stem.relu", Relu {});
    graph.then("conv1", Conv2d::new(8, 3).padding(1));
    graph.then("relu", Relu {});
    let y = graph.then("conv2", Conv2d::new(8, 3).padding(1));
    graph.push("add", Add {}, &[&y, &x]);
    let y = graph.then("add.relu", Relu {});
    graph.then("last", Conv2d::new(4, 3).padding(1));
    graph.push("shortcut", Conv2d::new(4, 1), &[IMAGES]);
    graph.push("add2", Add {}, &["last", "shortcut"]);
    graph.push("twice", Concat {}, &["add2", &y]);
    graph.then("pool", GlobalAvgPool {});
    graph.then("flat", Flatten {});
    graph.then("fc", Linear::new(3));
    let net = Net::new(graph, Stream::new(3), &Device::Cpu).unwrap();
    for mode in [train(), Mode::Eval] {
        net.params().clear_grads();
        check_joined(&net, &random(Stream::new(1), &[9, 4, 64, 64]), mode);
    }
}

#[test]
fn the_images_gradient_equals_central_differences() {
    let net = net();
    let x = [random(Stream::new(1), &BATCH)];
    check_grad(&x, |t| net.forward(&t[0], Mode::Eval));
    check_grad(&x, |t| net.forward(&t[0], train()));
}

#[test]
fn taps_are_the_outputs_of_their_nodes_and_pass_gradients() {
    let net = net();
    let x = Var::from_tensor(&random(Stream::new(1), &BATCH)).unwrap();
    let (logits, taps) = net.forward_with_taps(&x, train(), &["a", "stem", "bn1"]).unwrap();
    assert_eq!(floats(&logits), floats(&net.forward(&x, train()).unwrap()));
    assert_eq!(taps["a"].dims(), [3, 7, 6, 4]);
    let want = taps["bn1"].relu().unwrap();
    assert_eq!(floats(&taps["stem"]), floats(&want));
    let loss = (taps["a"].sqr().unwrap().sum_all().unwrap() + logits.sum_all().unwrap()).unwrap();
    net.params().clear_grads();
    let grads = loss.backward().unwrap();
    let cut = Net::with_weights(
        net.graph().cut("a").unwrap(),
        &below(&net, &["conv1", "bn1", "a"]),
        &Device::Cpu,
    );
    assert!(cut.is_err(), "a map of features is no classifier");
    assert!(grads.get(&x).is_some());
    assert!(net.params().get("conv1.weight").unwrap().grad().get().is_some());
    let error = net.forward_with_taps(&x, Mode::Eval, &["nowhere"]).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

fn below(net: &Net, parts: &[&str]) -> BTreeMap<String, Tensor> {
    let of = |name: &String| parts.iter().any(|part| name.starts_with(&format!("{part}.")));
    net.params().tensors().into_iter().filter(|(name, _)| of(name)).collect()
}

#[test]
fn evaluation_records_nothing_and_needs_no_gradient() {
    let net = net();
    let x = random(Stream::new(1), &BATCH);
    let y = net.forward(&x, Mode::Eval).unwrap();
    assert!(!y.track_op());
    let again = net.forward(&Var::from_tensor(&x).unwrap(), Mode::Eval).unwrap();
    assert_eq!(floats(&y), floats(&again));
    assert!(net.params().iter().all(|(_, param)| param.grad().get().is_none()));
}

#[test]
fn a_second_backward_is_refused() {
    let net = net();
    let y = net.forward(&random(Stream::new(1), &BATCH), train()).unwrap().sum_all().unwrap();
    y.backward().unwrap();
    assert!(y.backward().unwrap_err().to_string().contains("once"));
}

#[test]
fn images_of_another_shape_are_named() {
    let error = net().forward(&random(Stream::new(1), &[3, 2, 6, 7]), Mode::Eval).unwrap_err();
    assert_eq!(error.to_string(), "images: expected shape (N, 2, 7, 6), got [3, 2, 6, 7]");
}

#[test]
fn running_statistics_move_by_a_tenth() {
    let mut graph = Graph::new([1, 1, 1]);
    graph.then("bn", BatchNorm::default());
    graph.then("flat", Flatten {});
    let net = Net::new(graph, Stream::new(1), &Device::Cpu).unwrap();
    let x = Tensor::new(&[1f32, 3.0], &Device::Cpu).unwrap().reshape((2, 1, 1, 1)).unwrap();
    net.forward(&x, train()).unwrap();
    let after = net.params().tensors();
    close(&floats(&after["bn.running_mean"]), &[0.2], "mean");
    // 0.9 + 0.1 * 2: the variance divided by n - 1.
    close(&floats(&after["bn.running_var"]), &[1.1], "variance");
}

#[test]
fn one_operation_on_tensors_names_what_does_not_fit() {
    let x = random(Stream::new(1), &[2, 4, 4, 3]);
    let op: Op = Conv2d::new(5, 3).into();
    let error = |params: &[&Tensor]| {
        let result: Result<Tensor> = apply(op.clone(), &[&x], params, Mode::Eval);
        result.unwrap_err().to_string()
    };
    assert!(error(&[]).contains("weight"));
    let wrong = random(Stream::new(2), &[5, 3, 3, 2]);
    assert!(error(&[&wrong]).contains("weight: expected shape [5, 3, 3, 3]"));
}

/// `(x - mean) / std`, in this order and never as a product: as loaders once did it for a network.
#[test]
fn a_normalization_in_the_graph_gives_the_bits_of_normalized_images() {
    let (mean, std) = ([0.1307f32, 0.4914], [0.3081f32, 0.247]);
    let plain = net();
    let graph = plain.graph().clone().normalized(&mean, &std).unwrap();
    let net = Net::with_weights(graph, &plain.params().tensors(), &Device::Cpu).unwrap();
    let bytes = (0..2 * 7 * 6 * 3).map(|i| (i * 37 % 256) as f32 / 255.0);
    let pixels: Vec<f32> = bytes.collect();
    let normalized = pixels.iter().enumerate().map(|(i, pixel)| {
        let channel = i / 42 % 2;
        (pixel - mean[channel]) / std[channel]
    });
    let normalized: Vec<f32> = normalized.collect();
    let images = |values: Vec<f32>| Tensor::from_vec(values, (3, 2, 7, 6), &Device::Cpu).unwrap();
    let (pixels, normalized) = (images(pixels), images(normalized));
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for mode in [Mode::Eval, train()] {
        let (got, want) = (joined(&net, &pixels, mode), joined(&plain, &normalized, mode));
        assert_eq!(bits(&got.0), bits(&want.0));
        assert_eq!(got.2.keys().collect::<Vec<_>>(), want.2.keys().collect::<Vec<_>>());
        assert!(got.2.iter().all(|(name, grad)| bits(grad) == bits(&want.2[name])));
        let divided = want.1.iter().enumerate().map(|(i, grad)| grad / std[i / 42 % 2]);
        assert_eq!(bits(&got.1), bits(&divided.collect::<Vec<_>>()));
    }
    assert!(net.graph().clone().normalized(&mean, &std).is_err(), "twice");
    assert!(graph_error(&mean[..1], &std[..1]).contains("one mean and one std"));
    for (mean, std) in [(f32::NAN, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, f32::INFINITY)] {
        assert!(graph_error(&[0.0, mean], &[1.0, std]).contains("above 0"));
    }
}

fn graph_error(mean: &[f32], std: &[f32]) -> String {
    graph().normalized(mean, std).unwrap_err().to_string()
}

#[test]
fn without_dropout_the_function_is_the_same() {
    let net = net();
    let graph = net.graph().without_dropout();
    assert_eq!(graph.nodes.len() + 1, net.graph().nodes.len());
    assert_eq!(graph.node("fc2").unwrap().inputs, ["fc1.relu"]);
    let other = Net::with_weights(graph.clone(), &net.params().tensors(), &Device::Cpu).unwrap();
    let x = random(Stream::new(1), &BATCH);
    let logits = |net: &Net| floats(&net.forward(&x, Mode::Eval).unwrap());
    assert_eq!(logits(&other), logits(&net));
    let cut = net.graph().cut("drop").unwrap().without_dropout();
    assert_eq!(cut.output, "fc1.relu");
    assert_eq!(graph.without_dropout(), graph);
}

#[test]
fn weights_of_another_graph_are_named() {
    let values = net().params().tensors();
    let error = |graph: Graph, values: &BTreeMap<String, Tensor>| {
        Net::with_weights(graph, values, &Device::Cpu).unwrap_err().to_string()
    };
    assert!(error(graph().cut("fc1.relu").unwrap(), &values).contains("`fc2.bias`"));
    let mut more = graph();
    more.then("fc3", Linear::new(3));
    assert!(error(more, &values).contains("`fc3.weight`: the weights lack this parameter"));
    let mut wider = graph().cut("fc1.relu").unwrap();
    wider.then("fc2", Linear::new(4));
    assert!(error(wider, &values).starts_with("fc2.weight: expected shape [4, 8], got [3, 8]"));
}

/// The network whose parameters below `parts` are frozen.
fn frozen(parts: &[&str]) -> Net {
    let mut net = net();
    let is_below = |name: &str| parts.iter().any(|part| name.starts_with(&format!("{part}.")));
    let names = net.params().iter().map(|(name, _)| name.to_owned());
    let names = names.filter(|name| is_below(name)).collect();
    net.freeze(&names).unwrap();
    net
}

const TRUNK: [&str; 3] = ["conv1", "bn1", "a"];

#[test]
fn frozen_parts_compute_as_in_evaluation_and_pass_gradients() {
    let x = random(Stream::new(1), &BATCH);
    for parts in [&TRUNK[..], &["a"], &["a.conv2", "b", "fc1"], &["fc2"]] {
        let net = frozen(parts);
        let rests = |name: &str| {
            let is_of = |part: &&str| name == *part || name.starts_with(&format!("{part}."));
            parts.iter().any(is_of)
        };
        let mode = |name: &str| if rests(name) { Mode::Eval } else { train() };
        let mut want = separate(&net, &x, &mode);
        want.2.retain(|name, _| !rests(name));
        check_equal(joined(&net, &x, train()), want);
    }
}

#[test]
fn what_goes_on_from_features_gives_the_same_bits() {
    let (net, x) = (frozen(&TRUNK), random(Stream::new(1), &BATCH));
    let features = net.features(&x).unwrap().unwrap();
    assert_eq!(features.dims(), [3, 7, 6, 4]);
    let before = net.params().tensors()["a.bn1.running_mean"].copy().unwrap();
    let evaluated = net.forward_features(&features, Mode::Eval).unwrap();
    assert_eq!(floats(&evaluated), floats(&net.forward(&x, Mode::Eval).unwrap()));
    let gradients = |y: Tensor| {
        net.params().clear_grads();
        y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let of = net.params().iter();
        let of = of.map(|(name, p)| (name.to_owned(), floats(p.grad().get().unwrap())));
        (floats(&y), of.collect::<BTreeMap<_, _>>())
    };
    let whole = gradients(net.forward(&x, train()).unwrap());
    assert_eq!(gradients(net.forward_features(&features, train()).unwrap()), whole);
    assert!(whole.1.keys().all(|name| name.starts_with("b.") || name.starts_with("fc")));
    assert_eq!(floats(&net.params().tensors()["a.bn1.running_mean"]), floats(&before));
    let error = net.forward_features(&x, train()).unwrap_err().to_string();
    assert_eq!(error, "features: expected shape [3, 7, 6, 4], got [3, 2, 7, 6]");
}

/// A network with layers that have fewer multiplications than products.
fn wide() -> Net {
    let mut graph = Graph::new([3, 10, 9]);
    for name in ["a", "b", "c"] {
        graph.then(name, Conv2d::new(32, 3).padding(1));
        graph.then(format!("{name}.bn"), BatchNorm::default());
        graph.then(format!("{name}.relu"), Relu {});
    }
    graph.then("pool", GlobalAvgPool {});
    graph.then("flat", Flatten {});
    graph.then("fc", Linear::new(3));
    Net::new(graph, Stream::new(5), &Device::Cpu).unwrap()
}

#[test]
fn fast_sums_of_convolutions_are_near_the_exact_ones() {
    let x = random(Stream::new(2), &[5, 3, 10, 9]);
    for mode in [train(), Mode::Eval] {
        let of = |sums| joined(&wide().with_conv_sums(sums), &x, mode);
        let ((y, to_x, params), exact) = (of(ConvSums::Fast), of(ConvSums::Exact));
        assert_ne!(y, exact.0);
        close(&y, &exact.0, "output");
        close(&to_x, &exact.1, "gradient of the images");
        params.iter().for_each(|(name, grad)| close(grad, &exact.2[name], name));
    }
}

#[test]
fn a_fixed_network_keeps_its_bits_and_notices_other_weights() {
    let x = random(Stream::new(2), &[5, 3, 10, 9]);
    let (usual, fixed) = (wide(), wide().fixed());
    let other = |(name, value): (String, Tensor)| (name, (value * 1.5).unwrap());
    for _ in 0..2 {
        for x in [&x, &x, &x.narrow(0, 1, 2).unwrap()] {
            assert_eq!(joined(&fixed, x, Mode::Eval), joined(&usual, x, Mode::Eval));
        }
        assert_eq!(joined(&fixed, &x, train()), joined(&usual, &x, train()));
        for net in [&usual, &fixed] {
            let values = net.params().tensors().into_iter().map(other).collect();
            net.params().load(&values).unwrap();
            net.params().clear_grads();
        }
    }
}

#[test]
fn freezing_names_what_it_cannot() {
    let mut net = net();
    assert!(net.features(&random(Stream::new(1), &BATCH)).unwrap().is_none());
    let error = |net: &mut Net, names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        net.freeze(&names).unwrap_err().to_string()
    };
    assert!(error(&mut net, &["bn1.running_mean"]).contains("`bn1.running_mean`"));
    let all: Vec<String> = net.params().iter().map(|(name, _)| name.to_owned()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert!(error(&mut net, &all).contains("no parameter to train"));
}
