//! Against the network before, and against arithmetic in integers.

use kd_core::ops::{Clip, Conv2d, Flatten, GlobalAvgPool, Init, Linear, MaxPool, Relu};
use kd_core::testing::random;
use kd_core::{Classifier, Mode, Stream, argmax};

use super::*;
use crate::ModelSpec;
use crate::onnx::{ExportInfo, ImportOptions, import, save, save_quantized};

fn network(name: &str, image_shape: [usize; 3]) -> Net {
    let graph = ModelSpec::from_name(name).unwrap().as_dyn().graph(image_shape, 10).unwrap();
    let graph = graph.normalized(&vec![0.4; image_shape[0]], &vec![0.3; image_shape[0]]).unwrap();
    let net = Net::new(graph, Stream::new(1), &Device::Cpu).unwrap();
    // Statistics of batch norm as after a training.
    for i in 0..3 {
        net.forward(&images(i, image_shape), Mode::Train(Stream::new(i))).unwrap();
    }
    net
}

/// Pixels in `[0, 1]`.
fn images(seed: u64, [c, h, w]: [usize; 3]) -> Tensor {
    let images = random(Stream::new(100 + seed), &[16, c, h, w]);
    ((images + 1.0).unwrap() / 2.0).unwrap()
}

fn quantized(net: &Net, range: Range) -> Quantized {
    let shape = net.graph().image_shape;
    let images = [images(10, shape), images(11, shape)];
    quantize(net.graph(), &net.params().tensors(), &images, range).unwrap_or_else(|e| panic!("{e}"))
}

fn again(quantized: &Quantized) -> Net {
    Net::with_weights(quantized.graph.clone(), &quantized.weights, &Device::Cpu).unwrap()
}

fn logits(net: &Net, images: &Tensor) -> Vec<f32> {
    net.forward(images, Mode::Eval).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The root of the mean squared difference, by that of `want`.
fn far(got: &[f32], want: &[f32]) -> f32 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
    norm(&mut got.iter().zip(want).map(|(g, w)| g - w)) / norm(&mut want.iter().copied())
}

const NAMES: [(&str, [usize; 3]); 9] = [
    ("mlp-30-20", [1, 28, 28]),
    ("papernot-mnist", [1, 28, 28]),
    ("resnet8", [3, 32, 32]),
    ("resnet20-b", [3, 32, 32]),
    ("wrn-16-2", [3, 32, 32]),
    ("mobilenet-v2-w0.5", [3, 64, 64]),
    ("shufflenet-v2-x0.5", [3, 64, 64]),
    ("efficientnet-lite0", [3, 64, 64]),
    ("squeezenet1.1", [3, 64, 64]),
];

#[test]
fn folding_changes_nothing_but_the_rounding() {
    for (name, shape) in NAMES {
        let net = network(name, shape);
        let (graph, weights) = fold_norms(net.graph(), &net.params().tensors()).unwrap();
        let folded = Net::with_weights(graph, &weights, &Device::Cpu).unwrap();
        let images = images(20, shape);
        let far = far(&logits(&folded, &images), &logits(&net, &images));
        assert!(far < 1e-4, "{name}: {far}");
    }
}

#[test]
fn quantized_networks_stay_near_and_come_back_from_their_files() {
    let folder = tempfile::tempdir().unwrap();
    for (name, shape) in NAMES {
        let net = network(name, shape);
        let quantized = quantized(&net, Range::MinMax);
        let (images, own) = (images(20, shape), again(&quantized));
        let near = far(&logits(&own, &images), &logits(&net, &images));
        assert!(near < 0.2, "{name}: {near}");
        let [small, large] =
            ["int8", "f32"].map(|file| folder.path().join(format!("{name}.{file}.onnx")));
        let info = ExportInfo::default();
        save_quantized(&small, &quantized, &info).unwrap();
        save(&large, net.graph(), &net.params().tensors(), &info).unwrap();
        let read =
            import(&small, &ImportOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(read.weights.keys().eq(quantized.weights.keys()), "{name}");
        let n_levels = |graph: &Graph| {
            graph.nodes.iter().filter(|node| matches!(node.op, Op::Quantize(_))).count()
        };
        assert_eq!(n_levels(&read.graph), n_levels(&quantized.graph), "{name}");
        let read = Net::with_weights(read.graph, &read.weights, &Device::Cpu).unwrap();
        let same = far(&logits(&read, &images), &logits(&own, &images));
        assert!(same < 1e-5, "{name}: {same}");
        let [small, large] = [small, large].map(|file| std::fs::metadata(file).unwrap().len());
        // Names and scales weigh something where there are few weights.
        assert!(large < 1 << 21 || 3 * small < large, "{name}: {small} of {large} bytes");
    }
}

#[test]
fn activations_are_rounded_where_engines_look_for_it() {
    let mut graph = Graph::new([3, 8, 8]);
    graph.then("conv", Conv2d::new(4, 3));
    graph.then("clip", Clip::default());
    graph.then("pool", MaxPool::new(2, 2, 0));
    graph.then("mean", GlobalAvgPool {});
    graph.then("flat", Flatten {});
    graph.then("fc", Linear::new(2));
    let net = Net::new(graph, Stream::new(1), &Device::Cpu).unwrap();
    let quantized = quantized(&net, Range::Mse);
    let names: Vec<&str> = quantized.graph.nodes.iter().map(|node| node.name.as_str()).collect();
    let want = [
        "images.rounded",
        "conv",
        "clip",
        "clip.rounded",
        "pool",
        "pool.rounded",
        "mean",
        "mean.rounded",
        "flat",
        "flat.rounded",
        "fc",
    ];
    assert_eq!(names, want);
    let levels = |name: &str| match quantized.graph.node(name).unwrap().op {
        Op::Quantize(levels) => levels,
        _ => panic!("{name}"),
    };
    assert_eq!(levels("images.rounded"), Quantize { scale: 1.0 / 255.0, zero_point: 0 });
    assert_eq!(levels("clip.rounded"), levels("pool.rounded"));
    assert_eq!(levels("clip.rounded").zero_point, 0);
    assert_eq!(levels("mean.rounded"), levels("flat.rounded"));
    assert_eq!(quantized.graph.output, "fc");
}

/// Bytes, and the scale and level of 0.
struct Bytes {
    values: Vec<i32>,
    levels: Quantize,
}

fn integers(quantized: &Quantized, name: &str) -> (Vec<i32>, Vec<f32>) {
    let scales = quantized.scales[name].clone();
    let values: Vec<f32> = quantized.weights[name].flatten_all().unwrap().to_vec1().unwrap();
    let each = values.len() / scales.len();
    let integer = |(i, value): (usize, &f32)| (value / scales[i / each]).round() as i32;
    (values.iter().enumerate().map(integer).collect(), scales)
}

/// `W x + b` in 32-bit integers, for a matrix; sums and what one of them stands for.
fn product(quantized: &Quantized, node: &str, x: &Bytes) -> Vec<(i32, f32)> {
    let (weights, scales) = integers(quantized, &format!("{node}.weight"));
    let (bias, of_bias) = integers(quantized, &format!("{node}.bias"));
    let zero = i32::from(x.levels.zero_point);
    let rows = weights.chunks(x.values.len()).zip(&bias).zip(scales.iter().zip(&of_bias));
    let sum = |((row, bias), (scale, of_bias)): ((&[i32], &i32), (&f32, &f32))| {
        let unit = scale * x.levels.scale;
        assert!((unit - of_bias).abs() <= 1e-6 * unit);
        assert!(row.iter().all(|w| w.abs() <= 127));
        (row.iter().zip(&x.values).map(|(w, x)| w * (x - zero)).sum::<i32>() + bias, unit)
    };
    rows.map(sum).collect()
}

/// Two layers as an engine computes them: bytes and 32-bit sums, and no other number before the logits
/// but the factor from one scale to the next.
#[test]
fn logits_are_those_of_arithmetic_in_integers() {
    let mut graph = Graph::new([1, 1, 32]);
    graph.then("flat", Flatten {});
    graph.then("a", Linear::new(24));
    graph.then("relu", Relu {});
    graph.then("b", Linear::new(16));
    graph.then("c", Linear::new(5).init(Init::Normal(0.3), Init::Pytorch));
    let net = Net::new(graph, Stream::new(1), &Device::Cpu).unwrap();
    let quantized = quantized(&net, Range::MinMax);
    let levels = |name: &str| match quantized.graph.node(name).unwrap().op {
        Op::Quantize(levels) => levels,
        _ => panic!("{name}"),
    };
    let images = images(30, [1, 1, 32]);
    let got = logits(&again(&quantized), &images);
    let pixels: Vec<f32> = images.flatten_all().unwrap().to_vec1().unwrap();
    for (pixels, got) in pixels.chunks(32).zip(got.chunks(5)) {
        let values = pixels.iter().map(|x| (x * 255.0).round_ties_even() as i32).collect();
        let mut x = Bytes { values, levels: levels("images.rounded") };
        for (node, rounded) in [("a", "relu.rounded"), ("b", "b.rounded")] {
            let (sums, levels) = (product(&quantized, node, &x), levels(rounded));
            let byte = |(sum, unit): (i32, f32)| {
                let level = (sum as f32 * (unit / levels.scale)).round_ties_even() as i32;
                (level + i32::from(levels.zero_point)).clamp(0, 255)
            };
            x = Bytes { values: sums.into_iter().map(byte).collect(), levels };
        }
        let want = product(&quantized, "c", &x).into_iter().map(|(sum, unit)| sum as f32 * unit);
        let want: Vec<f32> = want.collect();
        assert!(far(got, &want) < 1e-5, "{got:?}, {want:?}");
    }
}

#[test]
fn classes_stay_the_same() {
    let net = network("resnet8", [3, 32, 32]);
    let images = images(40, [3, 32, 32]);
    let want = logits(&net, &images);
    for range in Range::ALL.map(|(_, range)| range) {
        let got = logits(&again(&quantized(&net, range)), &images);
        let same = got.chunks(10).zip(want.chunks(10)).filter(|(g, w)| argmax(g) == argmax(w));
        assert!(same.count() >= 15, "{range:?}");
    }
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let net = network("resnet8", [3, 32, 32]);
    let weights = net.params().tensors();
    let error = quantize(net.graph(), &weights, &[], Range::MinMax).unwrap_err().to_string();
    assert_eq!(error, "`calibrate`: there are no images to calibrate with");
    let other = [images(1, [3, 16, 16])];
    assert!(quantize(net.graph(), &weights, &other, Range::MinMax).is_err());
    let mut fewer = weights.clone();
    fewer.remove("bn1.weight");
    let images = [images(1, [3, 32, 32])];
    assert!(quantize(net.graph(), &fewer, &images, Range::MinMax).is_err());
}
