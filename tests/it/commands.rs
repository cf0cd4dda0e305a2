//! The smaller commands: what they print, and that they work together.

use std::fs;
use std::path::Path;

use kd_adv::AttackSpec;
use kd_data::{DataSpec, Dataset, SyntheticObjects};
use kd_models::ModelSpec;
use kd_train::LossSpec;
use serde_json::Value;

use crate::support::{end, finals, json, kd, refused, succeed, write_mnist};

#[test]
fn what_kd_train_writes_kd_eval_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_mnist(&at.join("data"), 200, 50);
    succeed(kd(at).args(["train", "--model", "mlp-20", "--epochs", "2", "--out", "teacher"]));
    let weights = "teacher/checkpoints/mlp-20-seed0/student";
    let distill = ["train", "--model", "mlp-8", "--epochs", "2", "--out", "student"];
    succeed(kd(at).args(distill).args(["--teacher", weights]));
    assert!(finals(&at.join("student"))[0]["last"]["agreement"].is_number());

    let evaluate = |weights: &str| {
        let args = ["eval", "--model", "mlp-20", "--weights", weights];
        let mut value = json(kd(at).args(args));
        let speed = value.as_object_mut().unwrap().remove("images_per_second");
        assert!(speed.unwrap().as_f64().unwrap() > 0.0);
        value
    };
    let result = evaluate(weights);
    assert_eq!(result, evaluate(&format!("{weights}/model.safetensors")));
    let last = &finals(&at.join("teacher"))[0]["last"];
    for key in ["total", "correct", "top1", "top5", "nll", "ece"] {
        assert!(result[key].is_number(), "{key} in {result}");
        assert_eq!(result[key], last[key], "{key}");
    }
    assert_eq!((&result["model"], &result["split"]), (&"mlp-20".into(), &"test".into()));
    assert_eq!(result["parameters"], 784 * 20 + 20 + 20 * 10 + 10);
}

#[test]
fn a_closed_pipe_ends_the_program_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = kd(folder.path()).arg("list").spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

/// What leaves as ONNX comes back: the same figures, and a student that goes on learning.
#[test]
fn a_network_of_an_onnx_file_is_one_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_mnist(&at.join("data"), 200, 50);
    let train = ["train", "--epochs", "1", "--model"];
    succeed(kd(at).args(train).args(["mlp-20", "--mean", "0.2", "--std", "0.4", "--out", "run"]));
    let own = "run/checkpoints/mlp-20-seed0/student";
    let export = ["export", "--weights", own, "--format", "onnx", "--out", "net.onnx"];
    succeed(kd(at).args(export));
    refused(&end(kd(at).args(export)), 73, "--force writes over it", "twice");
    let eval = |weights: &[&str]| json(kd(at).arg("eval").args(weights));
    let want = eval(&["--weights", own]);
    for weights in [["--model", "net.onnx"], ["--weights", "net.onnx"]] {
        let got = eval(&weights);
        for key in ["total", "correct", "parameters"] {
            assert_eq!(got[key], want[key], "{key}");
        }
        let nll = |value: &Value| value["nll"].as_f64().unwrap();
        assert!((nll(&got) - nll(&want)).abs() < 1e-6);
    }
    succeed(kd(at).args(train).args(["net.onnx", "--out", "more"]));
    let more = eval(&["--weights", "more/checkpoints/net.onnx-seed0/student"]);
    assert_ne!(more["nll"], want["nll"], "it goes on learning");
    let normalized =
        [&train[..], &["net.onnx", "--mean", "0.2", "--std", "0.4", "--out", "x"]].concat();
    refused(&end(kd(at).args(normalized)), 78, "puts a normalization before it", "its own");
}

/// The normalization and the network are in the checkpoint: flags may repeat them, as for weights
/// from elsewhere, which have neither.
#[test]
fn a_checkpoint_alone_gives_the_figures_that_flags_give() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_mnist(&at.join("data"), 200, 50);
    let train = ["train", "--model", "mlp-20", "--dropout", "0.2", "--epochs", "2"];
    let normalize = ["--mean", "0.2", "--std", "0.4"];
    succeed(kd(at).args(train).args(normalize).args(["--out", "run"]));
    let own = "run/checkpoints/mlp-20-seed0/student";
    let elsewhere = format!("{own}/model.safetensors");
    let flags = [&["--model", "mlp-20"][..], &normalize].concat();
    let import = ["import", &elsewhere, "--image-shape", "1,28,28", "--out", "own.safetensors"];
    succeed(kd(at).args(import).args(&flags));

    let timeless = |command: &[&str], weights: &str, flags: &[&str]| {
        let mut value = json(kd(at).args(command).args(["--weights", weights]).args(flags));
        value.as_object_mut().unwrap().remove("images_per_second");
        if let Some(attacks) = value.get_mut("attacks").and_then(Value::as_array_mut) {
            attacks[0].as_object_mut().unwrap().remove("seconds");
        }
        value
    };
    let attack = ["attack", "--attack", "pgd", "--eps", "0.05", "--n", "40"];
    for command in [&["eval"][..], &attack] {
        let alone = timeless(command, own, &[]);
        assert_eq!(alone, timeless(command, own, &flags), "{command:?}: repeated");
        assert_eq!(alone, timeless(command, &elsewhere, &flags), "{command:?}: from elsewhere");
        assert_eq!(alone, timeless(command, "own.safetensors", &[]), "{command:?}: imported");
        let plain = timeless(command, &elsewhere, &["--model", "mlp-20"]);
        assert_ne!(alone, plain, "{command:?}: normalized as the data set's");
        for (flags, words) in [
            (&["--mean", "0.2", "--std", "0.5"][..], "`normalize`"),
            (&["--model", "mlp-21"], "`mlp-20`, not `mlp-21`"),
        ] {
            for weights in [own, "own.safetensors"] {
                let args = [command, &["--weights", weights], flags].concat();
                refused(&end(kd(at).args(args)), 78, words, &format!("{command:?} {weights}"));
            }
        }
        let args = [command, &["--weights", &elsewhere]].concat();
        refused(&end(kd(at).args(args)), 78, "name it by --model", "no network");
    }
    let export = |weights: &str, out: &str, flags: &[&str]| {
        let args = ["export", "--format", "safetensors", "--weights", weights, "--out", out];
        fs::create_dir(at.join(out).parent().unwrap()).unwrap();
        succeed(kd(at).args(args).args(flags));
        let config = at.join(out).with_file_name("config.json");
        (fs::read(at.join(out)).unwrap(), fs::read(config).unwrap())
    };
    let alone = export(own, "a/net.safetensors", &[]);
    let shape = ["--image-shape", "1,28,28"];
    // Only the checkpoint knows what the classes are called.
    let elsewhere = export(&elsewhere, "b/net.safetensors", &[&flags[..], &shape].concat());
    let imported = export("own.safetensors", "c/net.safetensors", &[]);
    assert_eq!([&elsewhere.0, &imported.0], [&alone.0; 2]);
    assert_eq!(elsewhere.1, imported.1);
    assert!(String::from_utf8(alone.1).unwrap().contains("0.2"));

    let path = at.join(own).join("network.json");
    let network: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!((&network["name"], &network["class_names"][7]), (&"mlp-20".into(), &"7".into()));
}

/// Synthetic objects as one file of CIFAR-10's binary format.
fn write_cifar10(file: &Path, n_images: usize) {
    let objects = SyntheticObjects { n_train: n_images, n_test: 1, ..SyntheticObjects::default() };
    let images = objects.load(None).unwrap().train;
    let record = |i: usize| [&[images.labels()[i] as u8], images.image(i)].concat();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, (0..n_images).flat_map(record).collect::<Vec<u8>>()).unwrap();
}

#[test]
fn a_convolutional_network_is_trained_and_evaluated_on_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let batches = at.join("data/cifar-10-batches-bin");
    for i in 1..=5 {
        write_cifar10(&batches.join(format!("data_batch_{i}.bin")), 16);
    }
    write_cifar10(&batches.join("test_batch.bin"), 20);
    let train = ["train", "--model", "resnet8", "--data", "cifar10", "--epochs", "1", "--flip"];
    let plan = ["--optimizer", "sgd", "--weight-decay", "5e-4", "--schedule", "cosine"];
    succeed(kd(at).args(train).args(plan).args(["--crop-padding", "4", "--out", "out"]));
    let weights = "out/checkpoints/resnet8-seed0/student";

    write_cifar10(&at.join("other/data_batch_1.bin"), 24);
    let evaluate = |flags: &[&str]| {
        let args = ["eval", "--model", "resnet8", "--weights", weights, "--data", "cifar10"];
        json(kd(at).args(args).args(flags))
    };
    let test = evaluate(&[]);
    let last = &finals(&at.join("out"))[0]["last"];
    for key in ["total", "correct", "top1", "top5", "nll", "ece"] {
        assert_eq!(test[key], last[key], "{key}");
    }
    assert_eq!((&test["total"], &test["parameters"]), (&20.into(), &75_290.into()));
    // One file is enough for the part that it belongs to.
    let other = evaluate(&["--data-dir", "other", "--split", "train"]);
    assert_eq!((&other["total"], &other["split"]), (&24.into(), &"train".into()));
}

#[test]
fn kd_list_names_every_entry() {
    let folder = tempfile::tempdir().unwrap();
    let text = succeed(kd(folder.path()).args(["list", "--json"])).stdout;
    let list: Value = serde_json::from_str(&text).unwrap();
    let kinds = |family: &str| -> Vec<String> {
        let entries = list[family].as_array().unwrap().iter();
        entries.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds("models"), ModelSpec::NAMES);
    assert_eq!(kinds("losses"), LossSpec::NAMES);
    assert_eq!(kinds("attacks"), AttackSpec::NAMES);
    assert_eq!(kinds("data"), DataSpec::NAMES);
    assert_eq!(list["models"][0]["parameters"], 2_395_210);
    assert_eq!(list["models"][0]["multiply_adds"], 784 * 1200 + 1200 * 1200 + 1200 * 10);
    // Settings in single precision are written in few digits.
    let digits = |part: &str| part.trim_start_matches(['0', '.']).len();
    let is_noise = |part: &str| part.contains('.') && digits(part) > 9;
    assert!(!text.split(|c: char| !c.is_ascii_digit() && c != '.').any(is_noise), "{text}");

    let table = succeed(kd(folder.path()).arg("list")).stdout;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let first = words(table.lines().nth(1).unwrap());
    let want = ["mlp", "mlp-1200-1200", "1x28x28", "10", "2,395,210", "2,392,800"];
    assert_eq!(first, want, "{table}");
}

#[test]
fn completions_and_help_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let script = succeed(kd(folder.path()).args(["completions", "bash"])).stdout;
    assert!(script.contains("complete") && script.contains("kd"), "{script}");
    let help = succeed(kd(folder.path()).arg("--help")).stdout;
    for command in ["run", "train", "eval", "attack", "report", "list", "completions"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in {help}");
    }
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["run", "--no-such-flag"][..], &["walk"], &[], &["train", "--out", "x"]] {
        let ended = end(kd(folder.path()).args(args));
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
