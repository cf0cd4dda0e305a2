//! Well-known networks in full, where there are files of them.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use kd_core::checkpoint::load_tensors;
use kd_core::{Classifier, Mode, Net, Stream};

use super::golden::{difference, floats, net};
use crate::onnx::{ImportOptions, import};

/// Names in `folder`, in their order.
fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.collect();
    paths.sort();
    paths
}

/// Greatest difference of a gradient, as part of its largest number or of a thousandth of all.
fn gradients_differ(net: &Net, reference: &std::collections::BTreeMap<String, Tensor>) -> f64 {
    let labels = reference["train.labels"].to_dtype(candle_core::DType::U32).unwrap();
    let logits = net.forward(&reference["train.images"], Mode::Train(Stream::new(0))).unwrap();
    let loss = kd_core::ops::cross_entropy(&logits, &labels, 0.0).unwrap();
    loss.backward().unwrap();
    let grads =
        reference.iter().filter_map(|(name, grad)| Some((name.strip_prefix("grad.")?, grad)));
    let grads: Vec<_> = grads.map(|(name, grad)| (name, floats(grad))).collect();
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let all = grads.iter().map(|(_, grad)| largest(grad)).fold(0.0, f64::max);
    let mut worst = (difference(&floats(&loss), &floats(&reference["train.loss"])), "loss");
    for (name, want) in &grads {
        let param = net.params().get(name).unwrap_or_else(|| panic!("no parameter {name}"));
        let got = floats(param.grad().get().unwrap());
        let far = got.iter().zip(want).fold(0.0f64, |a, (g, w)| a.max((g - w).abs()));
        let far = far / largest(want).max(all / 1000.0);
        if far > worst.0 {
            worst = (far, name);
        }
    }
    println!(
        "    gradients differ by {:.1e} ({} parameters, most: {})",
        worst.0,
        grads.len(),
        worst.1
    );
    worst.0
}

/// With `KD_ONNX_DIR=DIR`, where `tests/python/make_networks.py DIR` wrote files: logits within 1e-4
/// of onnxruntime's, gradients of one step within 1e-3 (densenet121: 1e-2) of PyTorch's in float64.
#[test]
fn well_known_networks_compute_and_train_as_in_pytorch() {
    let Some(folder) = std::env::var_os("KD_ONNX_DIR") else {
        println!("well-known networks: skipped, KD_ONNX_DIR names no folder with files of them");
        return;
    };
    let only = std::env::var("KD_ONNX_ONLY").unwrap_or_default();
    let mut wrong = Vec::new();
    for network in list(Path::new(&folder)) {
        let Ok(reference) = load_tensors(&network.join("reference.safetensors"), &Device::Cpu)
        else {
            continue;
        };
        let files =
            list(&network).into_iter().filter(|path| path.extension() == Some("onnx".as_ref()));
        for path in files.filter(|path| path.to_string_lossy().contains(&only)) {
            let variant = path.file_stem().unwrap().to_string_lossy().replace("model.", "");
            let name = format!("{} {variant}", network.file_name().unwrap().to_string_lossy());
            let imported = match import(&path, &ImportOptions::default()) {
                Ok(imported) => imported,
                Err(e) => {
                    println!("{name}: {e}");
                    wrong.push(name);
                    continue;
                }
            };
            let net = net(&imported);
            let own = reference.get(&format!("logits.{variant}"));
            let want = own.unwrap_or(&reference["logits"]);
            let logits = net.forward(&reference["images"], Mode::Eval).unwrap();
            let far = difference(&floats(&logits), &floats(want));
            println!("{name}: {} nodes, logits differ by {far:.1e}", imported.graph.nodes.len());
            let trains = variant == "ts17.kept" && reference.contains_key("train.loss");
            let of_step = if trains { gradients_differ(&net, &reference) } else { 0.0 };
            let allowed = if name.starts_with("densenet121") { 1e-2 } else { 1e-3 };
            if far.is_nan() || far > 1e-4 || of_step > allowed {
                wrong.push(name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
