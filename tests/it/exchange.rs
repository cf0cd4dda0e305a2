//! Weights to and from other programs: `kd import`, `kd export`, PyTorch and onnxruntime.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{Device, Tensor};
use kd_core::testing::random;
use kd_core::{Classifier, Mode, Stream};
use kd_models::weights::{Naming, WeightsFile, save_for_pytorch, save_safetensors, shapes};
use kd_models::{ModelSpec, Names, onnx};
use serde_json::{Value, json};

use crate::support::{end, kd, refused, succeed};

const CIFAR: [usize; 3] = [3, 32, 32];

fn build(name: &str, shape: [usize; 3]) -> Box<dyn Classifier> {
    let spec = ModelSpec::from_name(name).unwrap();
    spec.as_dyn().build(shape, 10, Stream::new(1), &Device::Cpu).unwrap().into()
}

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden/weights", name].iter().collect()
}

#[test]
fn what_is_exported_is_imported_and_files_are_byte_stable() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let network = build("resnet18-cifar-w16", CIFAR);
    save_safetensors(&at.join("ours.safetensors"), &network.params().tensors()).unwrap();
    let model = ["--model", "resnet18-cifar-w16"];
    for (names, out) in [("torchvision", "a"), ("li2018", "b"), ("li2018", "c")] {
        fs::create_dir(at.join(out)).unwrap();
        let file = format!("{out}/model.safetensors");
        let mut export = kd(at);
        export.arg("export").args(model).args(["--weights", "ours.safetensors"]);
        export.args(["--format", "safetensors", "--names", names, "--out", &file]);
        succeed(export.args(["--mean", "0.4914,0.4822,0.4465", "--std", "0.2,0.2,0.2"]));
        let back = format!("{out}/back.safetensors");
        let mut import = kd(at);
        import.arg("import").arg(&file).args(model).args(["--names", names, "--out", &back]);
        succeed(&mut import);
        assert_eq!(
            fs::read(at.join(back)).unwrap(),
            fs::read(at.join("ours.safetensors")).unwrap()
        );
    }
    for file in ["model.safetensors", "config.json"] {
        assert_eq!(
            fs::read(at.join("b").join(file)).unwrap(),
            fs::read(at.join("c").join(file)).unwrap()
        );
    }
    let text = fs::read_to_string(at.join("a/config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let want = json!({
        "architecture": "resnet18-cifar-w16",
        "num_classes": 10,
        "pretrained_cfg": {
            "input_size": [3, 32, 32],
            "mean": [0.4914, 0.4822, 0.4465],
            "std": [0.2, 0.2, 0.2],
            "num_classes": 10,
        }
    });
    assert_eq!(config, want);
    // Other code bases' names are found without being asked for; nothing is written over.
    let mut import = kd(at);
    import.args(["import", "b/model.safetensors", "--out", "x"]).args(model);
    succeed(&mut import);
    assert_eq!(fs::read(at.join("x")).unwrap(), fs::read(at.join("ours.safetensors")).unwrap());
    refused(&end(&mut import), 73, "--force writes over it", "twice");
    succeed(import.arg("--force"));
    for out in ["1.onnx", "2.onnx"] {
        let mut export = kd(at);
        export.arg("export").args(model).args(["--weights", "ours.safetensors"]);
        succeed(export.args(["--format", "onnx", "--out", out]));
    }
    assert_eq!(fs::read(at.join("1.onnx")).unwrap(), fs::read(at.join("2.onnx")).unwrap());
}

#[test]
fn a_dry_run_lists_what_would_become_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let list = succeed(kd(at).args(["import", "--dry-run"]).arg(golden("nested-legacy.pt"))).stdout;
    let lines: Vec<Vec<&str>> = list.lines().map(|l| l.split_whitespace().collect()).collect();
    assert!(lines.contains(&vec!["best_prec1", "float", "91.5"]), "{list}");
    let bias = vec!["state_dict.module.norm.bias", "bf16", "[3]"];
    assert!(lines.contains(&bias), "{list}");

    let network = build("mlp-4", [1, 2, 2]);
    let mut tensors = network.params().tensors();
    let bias = tensors.remove("fc2.bias").unwrap();
    tensors.insert("fc9.bias".into(), bias);
    save_safetensors(&at.join("a.safetensors"), &tensors).unwrap();
    let model = ["--model", "mlp-4", "--image-shape", "1,2,2"];
    let ended = end(kd(at).args(["import", "a.safetensors", "--dry-run"]).args(model));
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    for words in [
        "fc1.bias    f32 [4]      -> fc1.bias\n",
        "fc9.bias    f32 [10]     -> fc9.bias: unknown to the network\n",
        "-> fc2.bias: missing\n",
    ] {
        assert!(ended.stdout.contains(words), "{words} is not in\n{}", ended.stdout);
    }
    assert_eq!(fs::read_dir(at).unwrap().count(), 1, "nothing was written");
}

#[test]
fn unsuitable_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let hostile = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.\x80\x02cposix\nsystem\nX\x0d\0\0\0touch WAS-RUN\x85R.\x80\x02].";
    fs::write(at.join("hostile.pt"), hostile).unwrap();
    let zip = fs::read(golden("plain-zip.pt")).unwrap();
    fs::write(at.join("cut.pt"), &zip[..zip.len() - 100]).unwrap();
    fs::copy(golden("nested-zip.pt"), at.join("nested.pt")).unwrap();
    let all = ["hostile.pt", "cut.pt", "nested.pt"];
    for (file, code, words) in [
        ("hostile.pt", 65, "the file has: object posix.system, not loaded"),
        ("cut.pt", 65, "no directory"),
        ("no.pt", 66, "no.pt: not found"),
        ("nested.pt", 78, "of the network's tensors missing (fc1.bias"),
    ] {
        let import = ["import", file, "--model", "mlp-4", "--out", "x.safetensors"];
        refused(&end(kd(at).args(import)), code, words, file);
        let export = ["export", "--model", "mlp-4", "--weights", file, "--format", "onnx"];
        let ended = end(kd(at).args(export).args(["--out", "x.onnx"]));
        assert_eq!(ended.code, Some(code), "{file}: {}", ended.stderr);
    }
    assert_eq!(fs::read_dir(at).unwrap().count(), all.len(), "something was written or run");
}

/// A network whose weights and running statistics are like those of a trained one.
fn lively(name: &str, images: &Tensor) -> Box<dyn Classifier> {
    let network = build(name, images.dims()[1..].try_into().unwrap());
    let moved = |(key, value): (String, Tensor)| {
        let noise = (random(Stream::new(2).at(&key), value.dims()) * 0.1).unwrap();
        // A copy, as a tensor cannot be set to itself.
        let value = if key.contains("running") { value.copy() } else { value + noise }.unwrap();
        (key, value)
    };
    let tensors: BTreeMap<_, _> = network.params().tensors().into_iter().map(moved).collect();
    network.params().load(&tensors).unwrap();
    for step in 0..20 {
        network.forward(images, Mode::Train(Stream::new(3).number(step))).unwrap();
    }
    network
}

fn write_all(folder: &Path, name: &str, shape: [usize; 3]) {
    let images = random(Stream::new(4), &[6, shape[0], shape[1], shape[2]]);
    let network = lively(name, &images);
    let logits = network.forward(&images, Mode::Eval).unwrap();
    let at = |end: &str| folder.join(format!("{name}{end}"));
    let tensors = network.params().tensors();
    save_for_pytorch(&at(".safetensors"), &tensors, Names::Torchvision).unwrap();
    let graph = network.graph().unwrap();
    onnx::save(&at(".onnx"), graph, &tensors, &onnx::ExportInfo::default()).unwrap();
    let data = [("images".to_owned(), images), ("logits".to_owned(), logits)].into();
    save_safetensors(&at(".data.safetensors"), &data).unwrap();
}

/// The greatest difference between kd's logits and PyTorch's, with weights from `file`.
fn difference(folder: &Path, name: &str, file: &str) -> f32 {
    let data = folder.join(format!("{name}.torch.safetensors"));
    let mut data = kd_core::checkpoint::load_tensors(&data, &Device::Cpu).unwrap();
    let (images, want) = (data.remove("images").unwrap(), data.remove("logits").unwrap());
    let network = build(name, images.dims()[1..].try_into().unwrap());
    let naming = Naming { prefix: Some("module.".into()), ..Naming::default() };
    let wanted = shapes(&*network);
    let file = WeightsFile::open(&folder.join(format!("{name}-{file}.pt"))).unwrap();
    let tensors = file.fit(&naming, &wanted).unwrap().read(&Device::Cpu).unwrap();
    network.params().load(&tensors).unwrap();
    let got = network.forward(&images, Mode::Eval).unwrap();
    let difference = (got - want).unwrap().abs().unwrap().flatten_all().unwrap();
    difference.max(0).unwrap().to_scalar().unwrap()
}

/// Every family, there and back; the ResNet-18 of the paper in full.
#[test]
fn pytorch_and_onnxruntime_give_the_same_logits() {
    let Some(python) = std::env::var_os("KD_PYTHON") else {
        println!("PyTorch and onnxruntime: skipped, KD_PYTHON names no Python that has them");
        return;
    };
    let networks = [
        ("mlp-30-20", [1, 28, 28]),
        ("papernot-mnist", [1, 28, 28]),
        ("papernot-cifar10", CIFAR),
        ("vgg8", CIFAR),
        ("vgg13", [3, 64, 64]),
        ("wrn-16-2", CIFAR),
        ("resnet8", CIFAR),
        ("resnet20-b", CIFAR),
        ("resnet56", CIFAR),
        ("resnet18-cifar", CIFAR),
        ("resnet18-w16", [3, 64, 64]),
        ("resnet50-cifar-w16", CIFAR),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, shape) in networks {
        write_all(folder.path(), name, shape);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/check_export.py");
    let mut check = Command::new(python);
    assert!(check.arg(script).arg(folder.path()).status().unwrap().success());
    for (name, _) in networks {
        for file in ["zip", "legacy"] {
            let difference = difference(folder.path(), name, file);
            println!("{name}-{file}.pt: kd and PyTorch differ by {difference:.1e}");
            assert!(difference <= 1e-4, "{name}-{file}.pt: {difference}");
        }
    }
}

/// Two public checkpoints in the format before PyTorch 1.6.
#[test]
fn public_checkpoints_are_read() {
    let Some(data) = std::env::var_os("KD_DATA_DIR").map(PathBuf::from) else {
        println!("public checkpoints: skipped, KD_DATA_DIR is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (model, file, n_numbers) in [
        ("resnet20", "resnet20-12fca82f.th", 271_098),
        ("resnet56", "resnet56-4bfd9763.th", 857_082),
    ] {
        let path = data.join("pretrained").join(file);
        if !path.exists() {
            println!("{}: skipped, it is not there", path.display());
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        fs::write(at.join(file), &bytes).unwrap();
        let import = ["import", file, "--model", model, "--strip-prefix", "module."];
        let out = format!("{model}.safetensors");
        let text = succeed(kd(at).args(import).args(["--out", &out])).stdout;
        assert!(text.contains(&format!("{n_numbers} numbers")), "{text}");
        println!("{file}: {text}");
        for (damaged, n, flip) in [("cut.th", bytes.len() - 1, 0), (file, bytes.len(), 0x10)] {
            let mut bytes = bytes[..n].to_vec();
            bytes[n / 2] ^= flip;
            fs::write(at.join(damaged), bytes).unwrap();
            let import = ["import", damaged, "--model", model, "--out", "x.safetensors"];
            refused(&end(kd(at).args(import)), 65, damaged, damaged);
        }
    }
}
