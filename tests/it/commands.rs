//! The smaller commands: what they print, and that they work together.

use std::fs;

use kd_data::DataSpec;
use kd_models::ModelSpec;
use kd_train::LossSpec;
use serde_json::Value;

use crate::mnist_files;
use crate::program::{end, finals, kd, succeed};

#[test]
fn what_kd_train_writes_kd_eval_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    mnist_files::write(&at.join("data"), 200, 50);
    succeed(kd(at).args(["train", "--model", "mlp-20", "--epochs", "2", "--out", "teacher"]));
    let weights = "teacher/checkpoints/mlp-20-seed0/student";
    let distill = ["train", "--model", "mlp-8", "--epochs", "2", "--out", "student"];
    succeed(kd(at).args(distill).args(["--teacher", weights, "--teacher-model", "mlp-20"]));
    assert!(finals(&at.join("student"))[0]["last"]["agreement"].is_number());

    let evaluate = |weights: &str| {
        let args = ["eval", "--model", "mlp-20", "--json", "--weights", weights];
        let mut value: Value = serde_json::from_str(&succeed(kd(at).args(args)).stdout).unwrap();
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
    assert_eq!(kinds("data"), DataSpec::NAMES);
    assert_eq!(list["models"][0]["parameters"], 2_395_210);
}

#[test]
fn completions_and_help_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let script = succeed(kd(folder.path()).args(["completions", "bash"])).stdout;
    assert!(script.contains("complete") && script.contains("kd"), "{script}");
    let help = succeed(kd(folder.path()).arg("--help")).stdout;
    for command in ["run", "train", "eval", "report", "list", "completions"] {
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
