//! All networks, against PyTorch's values (`tests/golden/networks.json`) and with wrong settings.

use candle_core::{Tensor, Var};
use kd_core::testing::{numbers, random};
use kd_core::{Classifier, Error, Mode};
use serde_json::Value;

use super::*;

const CIFAR: [usize; 3] = [3, 32, 32];
const LARGE: [usize; 3] = [3, 224, 224];

fn golden(name: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/");
    serde_json::from_str(&std::fs::read_to_string(format!("{path}{name}")).unwrap()).unwrap()
}

fn graph(name: &str, image_shape: [usize; 3], n_classes: usize) -> Graph {
    let spec = ModelSpec::from_name(name).unwrap_or_else(|| panic!("no network `{name}`"));
    spec.as_dyn().graph(image_shape, n_classes).unwrap()
}

fn build(name: &str, image_shape: [usize; 3], n_classes: usize) -> Net {
    Net::new(graph(name, image_shape, n_classes), Stream::new(1), &Device::Cpu).unwrap()
}

fn shape(value: &Value) -> [usize; 3] {
    serde_json::from_value(value.clone()).unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f64> {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// `make_golden_conv.py`'s formula for numbers that both sides can compute.
fn wave(phase: usize, scale: f64, shift: f64, shape: &[usize]) -> Tensor {
    let value = |i: u64| shift + scale * (phase as f64 + 0.37 * (i * i % 10_007) as f64).sin();
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (1..=n as u64).map(|i| value(i) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn set_params(network: &dyn Classifier) {
    for (phase, (name, param)) in network.params().iter().enumerate() {
        let dims = param.var().dims();
        let value = if dims.len() > 1 {
            let fan_in: usize = dims[1..].iter().product();
            wave(phase, 2.0 / (fan_in as f64).sqrt(), 0.0, dims)
        } else {
            wave(phase, 0.25, if name.ends_with("weight") { 1.0 } else { 0.0 }, dims)
        };
        param.var().set(&value).unwrap();
    }
}

/// How close a network must come.
struct Tolerance {
    atol: f64,
    rtol: f64,
}

impl Tolerance {
    fn check(&self, what: &str, got: &[f64], want: &[f64], scale: f64) {
        assert_eq!(got.len(), want.len(), "{what}");
        for (g, w) in got.iter().zip(want) {
            let allowed = self.atol + self.rtol * scale.max(w.abs());
            assert!((g - w).abs() <= allowed, "{what}: {g}, want {w} within {allowed}");
        }
    }

    /// Compares with the short form of a tensor: shape, norm, first values.
    fn check_short(&self, what: &str, got: &Tensor, want: &Value) {
        let dims: Vec<usize> = serde_json::from_value(want["shape"].clone()).unwrap();
        assert_eq!(got.dims(), dims, "{what}");
        let got = floats(got);
        let (first, norm) = (numbers(&want["first"]), want["norm"].as_f64().unwrap());
        let got_norm = got.iter().map(|g| g * g).sum::<f64>().sqrt();
        self.check(&format!("norm of {what}"), &[got_norm], &[norm], norm);
        let root_mean_square = norm / (got.len() as f64).sqrt();
        self.check(what, &got[..first.len()], &first, root_mean_square);
    }
}

/// A network after a golden step of training.
struct Stepped {
    name: String,
    network: Net,
    images: Var,
    grad_images: Tensor,
    logits: Tensor,
    loss: Tensor,
}

impl Stepped {
    fn new(case: &Value) -> Self {
        let spec: ModelSpec = serde_json::from_value(case["model"].clone()).unwrap();
        let [c, h, w] = shape(&case["image_shape"]);
        let n = case["n_images"].as_u64().unwrap() as usize;
        let network = spec.as_dyn().build([c, h, w], 10, Stream::new(0), &Device::Cpu).unwrap();
        set_params(&network);
        let images = Var::from_tensor(&wave(1, 1.0, 0.0, &[n, c, h, w])).unwrap();
        let labels = Tensor::arange(0, n as u32, &Device::Cpu).unwrap();
        let logits = network.forward(&images, Mode::Train(Stream::new(0))).unwrap();
        let loss = kd_core::ops::cross_entropy(&logits, &labels, 0.0).unwrap();
        let grad_images = loss.backward().unwrap().get(&images).unwrap().clone();
        let name = format!("{} {:?}", spec.short_name(), [c, h, w]);
        Self { name, network, images, grad_images, logits, loss }
    }

    fn at(&self, what: &str) -> String {
        format!("{what} of {}", self.name)
    }

    fn check_outputs(&self, case: &Value, tolerance: &Tolerance) {
        let check = |what: &str, got: &Tensor| {
            tolerance.check(&self.at(what), &floats(got), &numbers(&case[what]), 1.0);
        };
        check("logits", &self.logits);
        check("loss", &self.loss);
        check("logits_eval", &self.network.forward(&self.images, Mode::Eval).unwrap());
    }

    fn check_names(&self, want: &serde_json::Map<String, Value>) {
        let names = self.network.params().iter().map(|(name, _)| name);
        assert!(names.eq(want.keys()), "{}", self.at("names"));
    }
}

fn tolerance(case: &Value, golden: &Value) -> Tolerance {
    let number = |value: &Value| value.as_f64().unwrap();
    Tolerance { atol: number(&golden["tolerance"]["atol"]), rtol: number(&case["rtol"]) }
}

fn check_case(case: &Value, tolerance: &Tolerance) {
    let stepped = Stepped::new(case);
    let (at, params) = (|what: &str| stepped.at(what), stepped.network.params());
    stepped.check_outputs(case, tolerance);
    tolerance.check_short(&at("images' gradient"), &stepped.grad_images, &case["grad_images"]);
    let want = case["grads"].as_object().unwrap();
    stepped.check_names(want);
    for (name, param) in params.iter() {
        let grad = param.grad().get().unwrap();
        tolerance.check_short(&at(&format!("gradient of {name}")), grad, &want[name]);
    }
    let tensors = params.tensors();
    let buffers = case["buffers"].as_object().unwrap();
    assert_eq!(tensors.len(), want.len() + buffers.len(), "{}", at("buffers"));
    for (name, buffer) in buffers {
        tolerance.check_short(&at(name), &tensors[name], buffer);
    }
}

#[test]
fn values_gradients_and_running_statistics_equal_pytorchs() {
    let golden = golden("networks.json");
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    cases.iter().for_each(|case| check_case(case, &tolerance(case, &golden)));
}

#[test]
fn mobile_networks_equal_torchvisions_and_timms() {
    let golden = golden("mobile_networks.json");
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let (stepped, tolerance) = (Stepped::new(case), tolerance(case, &golden));
        stepped.check_outputs(case, &tolerance);
        let want = case["norms_of_grads"].as_object().unwrap();
        stepped.check_names(want);
        let norm = |tensor: &Tensor| floats(tensor).iter().map(|x| x * x).sum::<f64>().sqrt();
        let (got, of_images) = (norm(&stepped.grad_images), &case["norm_of_grad_images"]);
        tolerance.check(&stepped.at("images' gradient"), &[got], &numbers(of_images), got);
        let largest = want.values().flat_map(numbers).fold(0.0, f64::max);
        for (name, param) in stepped.network.params().iter() {
            let what = stepped.at(&format!("gradient of {name}"));
            let got = norm(param.grad().get().unwrap());
            tolerance.check(&what, &[got], &numbers(&want[name]), largest);
        }
    }
}

#[test]
fn parameter_counts_equal_pytorchs() {
    let golden = golden("networks.json");
    let counts = golden["counts"].as_array().unwrap();
    assert!(counts.len() > 20);
    for row in counts {
        let name = row["name"].as_str().unwrap();
        let counts = graph(name, CIFAR, 10).counts().unwrap();
        assert_eq!(counts.parameters, row["n_parameters"], "{name}");
    }
}

fn check_counts(rows: &[(&str, [usize; 3], usize, u64)]) {
    for &(name, image_shape, n_classes, want) in rows {
        let counts = graph(name, image_shape, n_classes).counts().unwrap();
        assert_eq!(counts.parameters, want, "{name}");
    }
}

#[test]
fn parameter_counts_are_the_papers() {
    check_counts(&[
        ("resnet18-cifar", CIFAR, 10, 11_173_962),
        ("resnet101-cifar", CIFAR, 10, 42_512_970),
        ("papernot-mnist", [1, 28, 28], 10, 312_202),
        ("papernot-cifar10", CIFAR, 10, 1_147_978),
    ]);
}

#[test]
fn parameter_counts_are_the_published_ones() {
    check_counts(&[
        ("resnet18", LARGE, 1000, 11_689_512),
        ("resnet50", LARGE, 1000, 25_557_032),
        ("mobilenet-v2", LARGE, 1000, 3_504_872),
        ("shufflenet-v2-x0.5", LARGE, 1000, 1_366_792),
        ("shufflenet-v2-x1.0", LARGE, 1000, 2_278_604),
        ("shufflenet-v2-x1.5", LARGE, 1000, 3_503_624),
        ("shufflenet-v2-x2.0", LARGE, 1000, 7_393_996),
        ("squeezenet1.1", LARGE, 1000, 1_235_496),
        ("efficientnet-lite0", LARGE, 1000, 4_652_008),
        ("resnet8x4", CIFAR, 100, 1_233_540),
        ("resnet32x4", CIFAR, 100, 7_433_860),
        ("mobilenet-v2-cifar-w0.5", CIFAR, 100, 812_836),
        ("shufflenet-v1-cifar", CIFAR, 100, 949_258),
        ("shufflenet-v2-cifar", CIFAR, 100, 1_355_528),
        ("resnet20", CIFAR, 10, 269_722),
        ("resnet56", CIFAR, 10, 853_018),
        ("wrn-28-10", CIFAR, 10, 36_479_194),
    ]);
}

/// Millions of them, as torchvision states them for its weights; EfficientNet-Lite0's as counted in
/// timm's network.
#[test]
fn multiply_adds_are_the_published_ones() {
    for (name, want) in [
        ("resnet18", 1814.0),
        ("resnet50", 4089.0),
        ("mobilenet-v2", 301.0),
        ("shufflenet-v2-x0.5", 40.0),
        ("shufflenet-v2-x1.0", 145.0),
        ("squeezenet1.1", 349.0),
        ("efficientnet-lite0", 385.0),
    ] {
        let counts = graph(name, LARGE, 1000).counts().unwrap();
        let millions = counts.multiply_adds as f64 / 1e6;
        assert!((millions - want).abs() <= 0.5, "{name}: {millions} M");
    }
}

#[test]
fn names_and_networks_stand_for_each_other() {
    for name in [
        "mlp-300-20",
        "resnet18",
        "resnet34-cifar",
        "resnet152-cifar-w16",
        "resnet20",
        "resnet110-b",
        "resnet8x4",
        "resnet32x4",
        "wrn-16-2",
        "wrn-28-10",
        "vgg8",
        "vgg13",
        "mobilenet-v2",
        "mobilenet-v2-w0.5",
        "mobilenet-v2-cifar-w0.5",
        "shufflenet-v2-x0.5",
        "shufflenet-v2-x1.0",
        "shufflenet-v1-cifar",
        "shufflenet-v2-cifar",
        "efficientnet-lite0",
        "squeezenet1.1",
        "papernot-mnist",
        "papernot-cifar10",
    ] {
        let spec = ModelSpec::from_name(name).unwrap_or_else(|| panic!("no network `{name}`"));
        assert_eq!(spec.short_name(), name);
    }
    for name in [
        "",
        "mlp",
        "mlp-",
        "mlp-03",
        "resnet",
        "resnet17",
        "resnet18-b",
        "resnet18-w64",
        "resnet20-cifar",
        "resnet020",
        "wrn-17-2",
        "wrn-16",
        "vgg9",
        "resnet9x4",
        "resnet18x4",
        "mobilenet-v2-w1",
        "mobilenet-v2-w0",
        "mobilenet-v2-wNaN",
        "shufflenet-v2-x0.7",
        "shufflenet-v2-x1",
        "shufflenet-v2",
        "efficientnet-lite1",
        "squeezenet1.0",
        "papernot",
        "papernot-svhn",
    ] {
        assert_eq!(ModelSpec::from_name(name), None, "{name}");
    }
    for spec in ModelSpec::all().into_iter().filter(|spec| !spec.as_dyn().is_in_a_file()) {
        let same = ModelSpec::from_name(&spec.short_name()).unwrap();
        assert_eq!(same.name(), spec.name());
    }
}

#[test]
fn wrong_settings_and_images_are_refused() {
    let refused = |text: &str, image_shape| {
        let spec: ModelSpec = serde_json::from_str(text).unwrap();
        let graph = spec.as_dyn().graph(image_shape, 10);
        let error = graph.err().unwrap_or_else(|| panic!("{text} was built"));
        assert!(matches!(error, Error::Config { .. }), "{text}: {error}");
    };
    refused(r#"{"kind": "resnet", "depth": 20, "stem": "cifar"}"#, CIFAR);
    refused(r#"{"kind": "resnet", "depth": 18, "stem": "cifar", "width": 0}"#, CIFAR);
    refused(r#"{"kind": "resnet", "depth": 18, "stem": "cifar", "width": 1000000}"#, CIFAR);
    refused(r#"{"kind": "resnet", "depth": 18, "stem": "imagenet"}"#, [3, 0, 32]);
    refused(r#"{"kind": "cifar-resnet", "depth": 18}"#, CIFAR);
    refused(r#"{"kind": "wide-resnet", "depth": 17, "widen": 2}"#, CIFAR);
    refused(r#"{"kind": "wide-resnet", "depth": 4, "widen": 2}"#, CIFAR);
    refused(r#"{"kind": "wide-resnet", "depth": 16, "widen": 0}"#, CIFAR);
    refused(r#"{"kind": "wide-resnet", "depth": 16, "widen": 2, "dropout": 1.0}"#, CIFAR);
    refused(r#"{"kind": "cifar-resnet-x4", "depth": 9}"#, CIFAR);
    refused(r#"{"kind": "mobilenet-v2", "width": 0.0}"#, CIFAR);
    refused(r#"{"kind": "mobilenet-v2", "dropout": 1.5}"#, CIFAR);
    refused(r#"{"kind": "cifar-mobilenet-v2", "width": 1e9}"#, CIFAR);
    refused(r#"{"kind": "shufflenet-v2", "width": 0.75}"#, CIFAR);
    refused(r#"{"kind": "squeezenet"}"#, [3, 12, 16]);
    refused(r#"{"kind": "efficientnet-lite", "dropout": -0.1}"#, LARGE);
    refused(r#"{"kind": "efficientnet-lite"}"#, [3, 0, 5]);
    refused(r#"{"kind": "vgg", "depth": 16}"#, CIFAR);
    refused(r#"{"kind": "vgg", "depth": 8}"#, [3, 7, 32]);
    refused(r#"{"kind": "vgg", "depth": 8}"#, [3, 64, 15]);
    refused(r#"{"kind": "papernot", "variant": "mnist"}"#, [1, 28, 15]);
    refused(r#"{"kind": "papernot", "variant": "mnist", "dropout": -0.5}"#, [1, 28, 28]);
}

#[test]
fn images_of_another_shape_are_refused() {
    let network = build("resnet8", [3, 16, 16], 10);
    for dims in [&[2, 1, 16, 16][..], &[2, 3, 16, 15], &[2, 768], &[3, 16, 16]] {
        let error = network.forward(&random(Stream::new(2), dims), Mode::Eval).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{dims:?}: {error}");
    }
}

#[test]
fn the_smallest_images_pass() {
    for (name, image_shape) in [
        ("resnet18-w4", [3, 1, 1]),
        ("resnet50-cifar-w4", [1, 1, 3]),
        ("resnet8", [3, 1, 1]),
        ("wrn-10-1", [3, 1, 2]),
        ("vgg8", [3, 8, 9]),
        ("papernot-mnist", [1, 16, 17]),
        ("resnet8x4", [3, 2, 1]),
        ("mobilenet-v2-w0.1", [3, 1, 1]),
        ("mobilenet-v2-cifar-w0.1", [1, 1, 3]),
        ("shufflenet-v2-x0.5", [3, 1, 1]),
        ("shufflenet-v1-cifar", [3, 1, 1]),
        ("shufflenet-v2-cifar", [3, 1, 2]),
        ("efficientnet-lite0", [3, 1, 1]),
        ("squeezenet1.1", [3, 17, 18]),
    ] {
        let network = build(name, image_shape, 3);
        let [c, h, w] = image_shape;
        let logits = network.forward(&random(Stream::new(2), &[2, c, h, w]), Mode::Eval).unwrap();
        assert_eq!(logits.dims(), [2, 3], "{name}");
    }
}

#[test]
fn features_are_the_stages_outputs() {
    for (name, image_shape, rows) in [
        (
            "resnet50-w8",
            [3, 64, 48],
            &[
                ("stem", &[8, 16, 12][..]),
                ("layer1", &[32, 16, 12]),
                ("layer2", &[64, 8, 6]),
                ("layer3", &[128, 4, 3]),
                ("layer4", &[256, 2, 2]),
                ("pool", &[256]),
            ][..],
        ),
        ("resnet8x4", CIFAR, &[("stem", &[32, 32, 32]), ("layer3", &[256, 8, 8])]),
        ("wrn-16-2", CIFAR, &[("block1", &[32, 32, 32]), ("block3", &[128, 8, 8])]),
        ("vgg8", CIFAR, &[("block0", &[64, 32, 32]), ("block4", &[512, 4, 4])]),
        ("mobilenet-v2", LARGE, &[("features.3.add", &[24, 56, 56]), ("pool", &[1280])]),
        ("mobilenet-v2-cifar-w0.5", CIFAR, &[("blocks.4.2.add", &[48, 4, 4]), ("pool", &[1280])]),
        ("shufflenet-v2-x1.0", LARGE, &[("stem", &[24, 56, 56]), ("stage4", &[464, 7, 7])]),
        ("shufflenet-v1-cifar", CIFAR, &[("layer1", &[240, 16, 16]), ("pool", &[960])]),
        ("shufflenet-v2-cifar", CIFAR, &[("layer2", &[232, 8, 8]), ("pool", &[1024])]),
        ("efficientnet-lite0", LARGE, &[("stem", &[32, 112, 112]), ("head", &[1280, 7, 7])]),
        (
            "squeezenet1.1",
            LARGE,
            &[("features.4", &[128, 55, 55]), ("features.12", &[512, 13, 13])],
        ),
        (
            "papernot-mnist",
            [1, 28, 28],
            &[
                ("conv2.relu", &[32, 24, 24]),
                ("conv4.relu", &[64, 8, 8]),
                ("fc1.relu", &[200]),
                ("fc2.relu", &[200]),
            ],
        ),
    ] {
        let shapes = graph(name, image_shape, 10).shapes().unwrap();
        for (node, want) in rows {
            assert_eq!(shapes.get(node), *want, "{name}: {node}");
        }
    }
}

/// Logits, and the gradients of all parameters after a step of training.
fn step(name: &str, shape: [usize; 3], device: &Device) -> Vec<(String, Tensor)> {
    let spec = ModelSpec::from_name(name).unwrap();
    let network = spec.as_dyn().build(shape, 7, Stream::new(1), device).unwrap();
    let dims = [8, shape[0], shape[1], shape[2]];
    let images = random(Stream::new(2), &dims).to_device(device).unwrap();
    let labels = Tensor::new(&[0u32, 1, 2, 3, 4, 5, 6, 0], device).unwrap();
    let logits = network.forward(&images, Mode::Train(Stream::new(3))).unwrap();
    kd_core::ops::cross_entropy(&logits, &labels, 0.0).unwrap().backward().unwrap();
    let mut values = vec![("logits".to_owned(), logits.detach())];
    let trained = network.forward(&images, Mode::Eval).unwrap();
    values.push(("evaluated".into(), trained));
    for (name, param) in network.params().iter() {
        values.push((name.into(), param.grad().get().unwrap().clone()));
    }
    values
}

/// Rounding differs, and a value near 0 may come out on the other side of a ReLU. Gradients that are
/// nothing but rounding, as that of a bias before batch norm, are measured by the largest one.
#[test]
fn a_gpu_computes_the_same_networks() {
    let Some(device) = kd_core::testing::gpu() else { return };
    let norm = |t: &Tensor| floats(t).iter().map(|x| x * x).sum::<f64>().sqrt();
    let small = ["resnet20", "resnet20-b", "resnet18-cifar-w16", "wrn-16-2", "vgg8", "mlp-40-30"];
    for name in small.into_iter().chain(["papernot-cifar10", "resnet50-cifar-w16"]) {
        let (want, got) = (step(name, CIFAR, &Device::Cpu), step(name, CIFAR, &device));
        let largest = want.iter().map(|(_, t)| norm(t)).fold(0.0, f64::max);
        for ((part, want), (_, got)) in want.iter().zip(&got) {
            let got = got.to_device(&Device::Cpu).unwrap();
            let error = norm(&(got - want).unwrap()) / norm(want).max(1e-3 * largest);
            let bound = if part == "logits" { 1e-5 } else { 1e-2 };
            assert!(error < bound, "{name}: {part}: relative error {error:e}");
        }
    }
}
