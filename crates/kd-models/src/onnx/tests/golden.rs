//! Networks from files that PyTorch wrote, against onnxruntime's logits and PyTorch's training.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use kd_core::testing::numbers;
use kd_core::{Classifier, Mode, Net, Stream};
use serde_json::Value;

use crate::onnx::{ImportOptions, Imported, import};

pub(crate) fn folder() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/onnx").into()
}

fn answers() -> Value {
    let text = std::fs::read_to_string(folder().join("answers.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// `make_golden_onnx.py`'s formula.
pub(crate) fn images(n: usize) -> Tensor {
    let values = (0..n * 3 * 16 * 16).map(|i| {
        let (x, y, c, n) = (i % 16, i / 16 % 16, i / 256 % 3, i / 768);
        ((37 * n + 101 * c + 13 * y * y + 29 * x * y + 17 * x) % 256) as f32 / 256.0
    });
    Tensor::from_iter(values, &Device::Cpu).unwrap().reshape((n, 3, 16, 16)).unwrap()
}

pub(crate) fn net(imported: &Imported) -> Net {
    Net::with_weights(imported.graph.clone(), &imported.weights, &Device::Cpu).unwrap()
}

pub(crate) fn floats(tensor: &Tensor) -> Vec<f64> {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// The largest difference, as part of the largest number.
pub(crate) fn difference(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    got.iter().zip(want).fold(0.0f64, |a, (g, w)| a.max((g - w).abs())) / largest
}

#[test]
fn logits_equal_onnxruntimes() {
    let answers = answers();
    let files = answers["files"].as_object().unwrap();
    assert_eq!(files.len(), 16);
    for (name, answer) in files {
        let imported = import(&folder().join(name), &ImportOptions::default());
        let imported = imported.unwrap_or_else(|e| panic!("{e}"));
        let logits = net(&imported).forward(&images(2), Mode::Eval).unwrap();
        let far = difference(&floats(&logits), &numbers(&answer["logits"]));
        assert!(far < 1e-4, "{name}: {far}");
    }
}

/// Norm and sum of `g_i cos(i)`.
fn short(grad: &Tensor) -> [f64; 2] {
    let grad = floats(grad);
    let along = grad.iter().enumerate().map(|(i, g)| g * (i as f64).cos()).sum();
    [grad.iter().map(|g| g * g).sum::<f64>().sqrt(), along]
}

/// One step on four images, of files that have PyTorch's own parameters.
#[test]
fn a_training_step_equals_pytorchs() {
    let answers = answers();
    let labels: Vec<u32> =
        numbers(&answers["header"]["labels"]).iter().map(|l| *l as u32).collect();
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    let files = [
        "residual.kept",
        "fresh.kept",
        "gated.kept",
        "shuffled.kept",
        "dense.kept",
        "one-sided.kept",
    ];
    for file in files {
        let path = folder().join(format!("{file}.onnx"));
        let net = net(&import(&path, &ImportOptions::default()).unwrap());
        let step = &answers["steps"][file.split('.').next().unwrap()];
        let logits = net.forward(&images(4), Mode::Train(Stream::new(0))).unwrap();
        let loss = kd_core::ops::cross_entropy(&logits, &labels, 0.0).unwrap();
        loss.backward().unwrap();
        let (got, want) = (floats(&loss)[0], step["loss"].as_f64().unwrap());
        assert!((got - want).abs() < 1e-4 * want, "{file}: {got}, {want}");
        for (name, want) in step["gradients"].as_object().unwrap() {
            let param = net.params().get(name).unwrap_or_else(|| panic!("{file}: no {name}"));
            let (got, want) = (short(param.grad().get().unwrap()), numbers(want));
            let far = (0..2).map(|i| (got[i] - want[i]).abs()).fold(0.0, f64::max);
            assert!(far < 1e-3 * want[0].max(1e-2), "{file}, {name}: {got:?}, {want:?}");
        }
        let tensors = net.params().tensors();
        for (name, want) in step["running"].as_object().unwrap() {
            let far = difference(&floats(&tensors[name]), &numbers(want));
            assert!(far < 1e-4, "{file}, {name}: {far}");
        }
    }
}
