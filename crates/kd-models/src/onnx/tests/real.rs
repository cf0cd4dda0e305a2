//! Well-known networks in full, where there are files of them.

use std::collections::BTreeMap;
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

/// Relative difference of a training step's gradients, all in one vector, from those in float64.
fn gradients_differ(net: &Net, reference: &BTreeMap<String, Tensor>) -> f64 {
    let labels = reference["train.labels"].to_dtype(candle_core::DType::U32).unwrap();
    let logits = net.forward(&reference["train.images"], Mode::Train(Stream::new(0))).unwrap();
    let loss = kd_core::ops::cross_entropy(&logits, &labels, 0.0).unwrap();
    loss.backward().unwrap();
    let of_loss = difference(&floats(&loss), &floats(&reference["train.loss"]));
    assert!(of_loss < 1e-4, "the loss differs by {of_loss}");
    let (mut squares, mut all, mut n_close, mut n) = (0.0, 0.0, 0, 0);
    for (name, want) in reference {
        let Some(name) = name.strip_prefix("grad.") else { continue };
        let param = net.params().get(name).unwrap_or_else(|| panic!("no parameter {name}"));
        let (got, want) = (floats(param.grad().get().unwrap()), floats(want));
        squares += got.iter().zip(&want).map(|(g, w)| (g - w) * (g - w)).sum::<f64>();
        all += want.iter().map(|w| w * w).sum::<f64>();
        n_close += usize::from(difference(&got, &want) < 1e-3);
        n += 1;
    }
    let far = (squares / all).sqrt();
    println!(
        "    gradients differ by {far:.1e}; those of {n_close} of {n} parameters by under 1e-3"
    );
    far
}

/// With `KD_ONNX_DIR=DIR`, where `tests/python/make_networks.py DIR` wrote files: logits within 1e-4
/// of onnxruntime's, gradients of one step within 1e-3 of PyTorch's in float64. No ReLU of such a step
/// has an input so close to zero that it would depend on the rounding whether it is on: the images are
/// chosen so.
#[test]
fn well_known_networks_compute_and_train_as_in_pytorch() {
    let Some(folder) = std::env::var_os("KD_ONNX_DIR") else {
        println!("well-known networks: skipped, KD_ONNX_DIR names no folder with files of them");
        return;
    };
    let mut wrong = Vec::new();
    for network in list(Path::new(&folder)) {
        let Ok(reference) = load_tensors(&network.join("reference.safetensors"), &Device::Cpu)
        else {
            continue;
        };
        let files =
            list(&network).into_iter().filter(|path| path.extension() == Some("onnx".as_ref()));
        for path in files {
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
            if far.is_nan() || far > 1e-4 || of_step.is_nan() || of_step > 1e-3 {
                wrong.push(name);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
