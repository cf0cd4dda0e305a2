//! What a GPU computes against the CPU, over odd shapes; twice, for the same bits. Where there is no
//! GPU these tests say so and do nothing.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};

use super::*;
use crate::graph::{Graph, IMAGES};
use crate::testing::{gpu, random, relative_error};
use crate::{Classifier, Mode, Net, Result, Stream, apply};

/// Values by name.
type Values = BTreeMap<String, Tensor>;

/// Runs `f` on both devices, twice on the GPU.
fn compare(what: &str, tolerance: f64, f: impl Fn(&Device) -> Values) {
    let Some(device) = gpu() else { return };
    let (want, got, again) = (f(&Device::Cpu), f(&device), f(&device));
    assert_eq!(want.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
    for (name, want) in &want {
        let error = relative_error(&got[name], want);
        assert!(error < tolerance, "{what}: {name}: relative error {error:e}");
        assert_eq!(bits(&got[name]), bits(&again[name]), "{what}: {name}: other bits");
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

fn on(device: &Device, name: &str, dims: &[usize]) -> Tensor {
    random(Stream::new(5).at(name), dims).to_device(device).unwrap()
}

/// A parameter, which is above 0 where it must be.
fn param(device: &Device, name: &str, dims: &[usize]) -> Tensor {
    let value = on(device, name, dims);
    if name.ends_with("running_var") { (value.abs().unwrap() + 0.5).unwrap() } else { value }
}

/// Output and gradients of `sum(weights * op(inputs))`, and the parameters afterwards.
fn single(device: &Device, op: &Op, inputs: &[&[usize]], mode: Mode) -> Values {
    let var = |tensor| Var::from_tensor(&tensor).unwrap();
    let shape = |dims: &&[usize]| match **dims {
        [_, h, w, c] => vec![c, h, w],
        _ => dims[1..].to_vec(),
    };
    let shapes: Vec<_> = inputs.iter().map(shape).collect();
    let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    let specs = op.as_dyn().params(&shapes).into_iter();
    let params = specs.map(|spec| (spec.name.to_owned(), param(device, spec.name, &spec.shape)));
    let inputs = inputs.iter().enumerate().map(|(i, dims)| (format!("x{i}"), dims));
    let inputs = inputs.map(|(name, dims)| (name.clone(), on(device, &name, dims)));
    let inputs: Vec<(String, Var)> = inputs.map(|(name, x)| (name, var(x))).collect();
    let params: Vec<(String, Var)> = params.map(|(name, x)| (name, var(x))).collect();
    let tensors = |vars: &[(String, Var)]| -> Vec<Tensor> {
        vars.iter().map(|(_, var)| var.as_tensor().clone()).collect()
    };
    let (xs, ps) = (tensors(&inputs), tensors(&params));
    let (xs, ps): (Vec<&Tensor>, Vec<&Tensor>) = (xs.iter().collect(), ps.iter().collect());
    let y = apply(op.clone(), &xs, &ps, mode).unwrap();
    let loss = (&y * on(device, "weights", y.dims())).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    let mut values = Values::from([("y".into(), y.detach())]);
    for (name, var) in inputs.iter().chain(&params) {
        if let Some(grad) = grads.get(var) {
            values.insert(format!("to {name}"), grad.clone());
        }
        values.insert(name.clone(), var.as_tensor().clone());
    }
    values
}

/// Runs `op` alone, in training and in evaluation.
fn alone(op: impl Into<Op>, inputs: &[&[usize]]) {
    let op = op.into();
    for mode in modes() {
        compare(&format!("{op:?} {inputs:?} {mode:?}"), TOLERANCE, |device| {
            single(device, &op, inputs, mode)
        });
    }
}

/// Logits of three classes from what `graph` makes of `n` images, all gradients of their weighted
/// sum, and the parameters afterwards.
fn network(device: &Device, graph: &Graph, n: usize, mode: Mode) -> Values {
    let mut graph = graph.clone();
    graph.then("flat", Flatten {});
    graph.then("logits", Linear::new(3));
    let shapes = graph.param_shapes().unwrap().into_iter();
    let weights = shapes.map(|(name, dims)| (name.clone(), param(device, &name, &dims)));
    let net = Net::with_weights(graph.clone(), &weights.collect(), device).unwrap();
    let pixels = [&[n], &graph.image_shape[..]].concat();
    let pixels = Var::from_tensor(&on(device, "pixels", &pixels)).unwrap();
    let y = net.forward(&pixels, mode).unwrap();
    let loss = (&y * on(device, "weights", y.dims())).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    let mut values = net.params().tensors();
    values.insert("y".into(), y.detach());
    values.insert("to pixels".into(), grads.get(&pixels).unwrap().clone());
    for (name, param) in net.params().iter() {
        if let Some(grad) = param.grad().get() {
            values.insert(format!("to {name}"), grad.copy().unwrap());
        }
    }
    values
}

/// Runs `graph` on `n` images, in training and in evaluation.
fn joined(graph: &Graph, n: usize) {
    modes().into_iter().for_each(|mode| joined_in(mode, graph, n));
}

fn joined_in(mode: Mode, graph: &Graph, n: usize) {
    compare(&format!("{graph:?} {n} {mode:?}"), TOLERANCE, |device| {
        network(device, graph, n, mode)
    });
}

const TOLERANCE: f64 = 1e-5;

fn modes() -> [Mode; 2] {
    [Mode::Train(Stream::new(7)), Mode::Eval]
}

/// N, H, W, input and output channels, kernel, stride, padding, groups.
const CONVS: [[usize; 9]; 9] = [
    [2, 7, 5, 3, 5, 3, 1, 1, 1],
    [3, 8, 8, 16, 16, 3, 1, 1, 1],
    [2, 9, 7, 8, 12, 3, 2, 1, 1],
    [5, 6, 6, 4, 8, 1, 2, 0, 1],
    [2, 11, 13, 3, 8, 7, 2, 3, 1],
    [2, 6, 5, 8, 8, 3, 1, 1, 4],
    [1, 4, 4, 2, 1, 1, 1, 0, 1],
    [4, 12, 12, 32, 64, 3, 1, 0, 1],
    [2, 5, 5, 512, 256, 3, 1, 1, 1],
];

fn conv([_, _, _, _, n_out, kernel, stride, padding, groups]: [usize; 9]) -> Conv2d {
    Conv2d::new(n_out, kernel).stride(stride).padding(padding).groups(groups)
}

#[test]
fn convolutions() {
    for sizes in CONVS {
        let [n, height, width, n_in, ..] = sizes;
        for conv in [conv(sizes), conv(sizes).bias(Init::Pytorch)] {
            alone(conv, &[&[n, height, width, n_in]]);
        }
    }
}

/// `relu?(batch_norm?(conv(images)) + shortcut?)`
fn conv_block(sizes: [usize; 9], [bias, norm, residual, relu]: [bool; 4]) -> Graph {
    let [_, height, width, n_in, ..] = sizes;
    let mut graph = Graph::new([n_in, height, width]);
    if residual {
        graph.then("shortcut", conv(sizes));
    }
    let conv = if bias { conv(sizes).bias(Init::Pytorch) } else { conv(sizes) };
    let mut y = graph.push("conv", conv, &[IMAGES]);
    if norm {
        y = graph.then("bn", BatchNorm::default());
    }
    if residual {
        graph.push("add", Add {}, &[&y, "shortcut"]);
    }
    if relu {
        graph.then("relu", Relu {});
    }
    graph
}

#[test]
fn convolutions_and_what_is_joined_with_them() {
    for sizes in CONVS {
        for [bias, norm, residual, relu] in [
            [false, true, true, true],
            [false, true, false, true],
            [false, true, true, false],
            [true, false, true, true],
            [true, false, false, true],
            [false, false, false, true],
        ] {
            joined(&conv_block(sizes, [bias, norm, residual, relu]), sizes[0]);
        }
        // In training, batch norm takes the bias away again: its gradient is all rounding.
        joined_in(Mode::Eval, &conv_block(sizes, [true, true, false, false]), sizes[0]);
    }
}

#[test]
fn gradients_of_two_paths_add_up() {
    for (sizes, norm) in [
        ([2, 7, 5, 6, 6, 3, 1, 1, 1], true),
        ([2, 8, 8, 64, 64, 3, 1, 1, 1], true),
        ([2, 7, 5, 6, 6, 3, 1, 1, 1], false),
    ] {
        let mut graph = conv_block(sizes, [false, norm, false, false]);
        let y = graph.output.clone();
        graph.push("add", Add {}, &[&y, IMAGES]);
        graph.then("relu", Relu {});
        joined(&graph, sizes[0]);
    }
}

#[test]
fn batch_norms() {
    for [n, h, w, c] in [[3, 5, 7, 6], [2, 9, 9, 64], [1, 3, 2, 1], [4, 3, 3, 1030], [2, 30, 31, 8]]
    {
        alone(BatchNorm::default(), &[&[n, h, w, c]]);
        for residual in [false, true] {
            let mut graph = Graph::new([c, h, w]);
            graph.then("bn", BatchNorm::default());
            if residual {
                graph.push("add", Add {}, &["bn", IMAGES]);
            }
            graph.then("relu", Relu {});
            joined(&graph, n);
        }
    }
}

#[test]
fn linear_layers() {
    for (n, n_in, n_out) in [(1, 1, 1), (3, 5, 2), (17, 9, 33), (128, 784, 300), (130, 64, 1200)] {
        alone(Linear::new(n_out), &[&[n, n_in]]);
        alone(Linear { bias: false, ..Linear::new(n_out) }, &[&[n, n_in]]);
        let mut graph = Graph::new([n_in, 1, 1]);
        graph.then("vector", Flatten {});
        graph.then("fc", Linear::new(n_out));
        graph.then("relu", Relu {});
        joined(&graph, n);
        graph.then("dropout", Dropout { p: 0.4, stream: Some(3) });
        joined(&graph, n);
    }
}

#[test]
fn pooling_sums_and_layouts() {
    for dims in [[2, 7, 9, 3], [3, 8, 8, 16], [1, 3, 3, 1], [2, 112, 111, 5]] {
        let dims = &dims[..];
        for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (1, 2, 0)] {
            alone(MaxPool::new(kernel, stride, padding), &[dims]);
        }
        alone(MaxPool { kernel: [2, 3], stride: [1, 2], padding: [1, 0, 0, 2] }, &[dims]);
        alone(GlobalAvgPool {}, &[dims]);
        alone(SubsamplePad { stride: 2, n_zeros: 3 }, &[dims]);
        alone(Flatten {}, &[dims]);
        alone(Relu {}, &[dims]);
        alone(Add {}, &[dims, dims]);
        alone(Dropout { p: 0.3, stream: Some(8) }, &[dims]);
        let (mean, std) = (vec![0.4; dims[3]], vec![0.3; dims[3]]);
        alone(Normalize { mean, std }, &[dims]);
    }
    let mut graph = Graph::new([5, 9, 8]).normalized(&[0.4; 5], &[0.3; 5]).unwrap();
    graph.push("double", Add {}, &["normalize", "normalize"]);
    graph.then("relu", Relu {});
    graph.then("max", MaxPool::new(3, 2, 1));
    graph.then("pool", GlobalAvgPool {});
    joined(&graph, 3);
}

#[test]
fn what_a_gpu_cannot_do_yet_is_said() {
    let Some(device) = gpu() else { return };
    let x = on(&device, "x", &[2, 3]);
    let error = apply(Silu {}, &[&x], &[], Mode::Eval).unwrap_err().to_string();
    assert!(error.contains("`silu`") && error.contains("--device cpu"), "{error}");
}

/// Value and gradient of an operation in candle's graph.
fn in_graph(device: &Device, dims: &[usize], f: impl Fn(&Tensor) -> Result<Tensor>) -> Values {
    let x = Var::from_tensor(&on(device, "x", dims)).unwrap();
    let y = f(&x).unwrap();
    let loss = (&y * on(device, "weights", y.dims())).unwrap().sum_all().unwrap();
    let to_x = loss.backward().unwrap().get(&x).unwrap().clone();
    [("y".to_owned(), y.detach()), ("to x".to_owned(), to_x)].into()
}

#[test]
fn objectives() {
    for (n, n_classes) in [(1, 2), (7, 10), (128, 10), (33, 1000)] {
        let dims = [n, n_classes];
        let labels = |x: &Tensor| {
            let labels: Vec<u32> = (0..n as u32).map(|i| i * 7 % n_classes as u32).collect();
            Tensor::new(labels, x.device()).unwrap()
        };
        compare("smoothed", TOLERANCE, |device| {
            in_graph(device, &dims, |x| cross_entropy(x, &labels(x), 0.1))
        });
        compare("at 20", TOLERANCE, |device| {
            in_graph(device, &dims, |x| cross_entropy_at(x, &labels(x), 20.0))
        });
        for (alpha, temperature) in [(0.0, 1.0), (0.5, 5.0), (1.0, 0.1)] {
            compare(&format!("distillation {dims:?} {alpha} {temperature}"), TOLERANCE, |device| {
                in_graph(device, &dims, |x| {
                    let teacher_logits = &on(device, "teacher", &dims);
                    let reduction = Reduction::BatchMean;
                    let soft = SoftTargets { teacher_logits, temperature, alpha, reduction };
                    distillation(x, Some(&labels(x)), &soft)
                })
            });
        }
    }
}

#[test]
fn extreme_logits_stay_finite_and_a_label_that_is_no_class_is_seen() {
    let Some(device) = gpu() else { return };
    let logits = Tensor::new(&[[1e4f32, -1e4, 0.0], [0.0, 1e4, -1e4]], &device).unwrap();
    let labels = |labels: [u32; 2]| Tensor::new(&labels, &device).unwrap();
    let loss = |labels| cross_entropy(&logits, &labels, 0.0).unwrap().to_scalar::<f32>().unwrap();
    assert_eq!((loss(labels([0, 1])), loss(labels([1, 1]))), (0.0, 1e4));
    assert!(loss(labels([0, 3])).is_nan());
}

#[test]
fn counts_are_those_of_the_rows() {
    let Some(device) = gpu() else { return };
    let row = [6.0f32, 5.0, 4.0, 3.0, 2.0, 1.0];
    let logits = Tensor::new(&[row, row, row, [1.0; 6]], &device).unwrap();
    let labels = Tensor::new(&[0u32, 4, 5, 1], &device).unwrap();
    let (count, loss) = (Count::new(&device).unwrap(), Tensor::new(2.5f32, &device).unwrap());
    for _ in 0..2 {
        count.add(&loss, &logits, &labels).unwrap();
    }
    assert_eq!(count.read().unwrap(), Counted { loss: 5.0, top1: 2.0, top5: 6.0 });
}

/// A linear layer, `fc`.
fn linear(n_in: usize, n_out: usize, device: &Device) -> Net {
    let mut graph = Graph::new([n_in, 1, 1]);
    graph.then("vector", Flatten {});
    graph.then("fc", Linear::new(n_out));
    Net::new(graph, Stream::new(1), device).unwrap()
}

/// Three steps of a linear layer, and its parameters afterwards.
fn optimized(device: &Device, spec: &OptimizerSpec) -> Values {
    let net = linear(67, 129, device);
    let params = net.params();
    let mut moments = Moments::new(spec, params);
    for i in 1..=3 {
        let x = on(device, &i.to_string(), &[5, 67, 1, 1]);
        let y = net.forward(&x, modes()[0]).unwrap();
        y.sqr().unwrap().mean_all().unwrap().backward().unwrap();
        moments.step(spec, (0.1, i), params).unwrap();
        params.clear_grads();
    }
    params.tensors().into_iter().map(|(name, t)| (name, t.copy().unwrap())).collect()
}

#[test]
fn optimizers() {
    for spec in [
        // With a small eps the first step is the gradient's sign, rounding and all.
        OptimizerSpec::from(Adam { weight_decay: 1e-2, eps: 1e-2, ..Adam::default() }),
        Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-2 }.into(),
    ] {
        compare(spec.name(), TOLERANCE, |device| optimized(device, &spec));
    }
}

#[test]
fn the_state_of_an_optimizer_comes_back() {
    let Some(device) = gpu() else { return };
    let net = linear(3, 2, &device);
    let y = net.forward(&on(&device, "x", &[4, 3, 1, 1]), modes()[0]).unwrap();
    y.sum_all().unwrap().backward().unwrap();
    let sgd = Sgd::default().into();
    let mut moments = Moments::new(&sgd, net.params());
    moments.step(&sgd, (0.1, 1), net.params()).unwrap();
    let saved = moments.tensors().unwrap();
    let mut loaded = Moments::new(&sgd, net.params());
    loaded.load(&saved).unwrap();
    for (name, tensor) in loaded.tensors().unwrap() {
        assert_eq!(bits(&tensor), bits(&saved[&name]), "{name}");
    }
    assert_eq!(saved.keys().collect::<Vec<_>>(), ["fc.bias/velocity", "fc.weight/velocity"]);
}

#[test]
fn tensor_cores_are_near() {
    use crate::device::{Precision, can_use_gpu, open};
    if !can_use_gpu() {
        return;
    }
    let device = open("cuda", Precision::Tf32).unwrap();
    let graph = conv_block([8, 16, 16, 64, 64, 3, 1, 1, 1], [false, true, false, false]);
    let run = |device: &Device| network(device, &graph, 8, modes()[0]);
    let (want, got) = (run(&Device::Cpu), run(&device));
    for (name, want) in &want {
        let error = relative_error(&got[name], want);
        assert!(error < 2e-3, "{name}: relative error {error:e}");
        println!("tf32: {name}: relative error {error:e}");
    }
}
