//! From photographs to a shipped network, through the program.

use std::fs;

use serde_json::Value;

use crate::support::{Running, draw_photographs, end, finals, json, kd, refused, succeed};

const TEACHER: &str = "big/checkpoints/resnet8-seed0/student";

#[test]
fn photographs_are_shipped_also_when_interrupted_and_kd_run_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw_photographs(at, 60, 12);
    let train = ["train", "--model", "resnet8", "--data", "photos:photos", "--crop", "32"];
    succeed(kd(at).args(train).args(["--epochs", "1", "--batch-size", "16", "--out", "big"]));
    let ship = || {
        let mut command = kd(at);
        command.args(["ship", "photos", "--teacher", TEACHER, "--student", "shrink:2"]);
        command.args(["--minutes", "0.01", "--out", "shipped"]);
        command
    };
    let mut running = Running::start(&mut ship());
    let state = at.join("shipped/work/candidates/metrics.jsonl");
    running.wait_until(|| state.exists());
    let stopped = running.terminate();
    assert!(matches!(stopped.code, Some(75 | 0)), "{}", stopped.stderr);
    let card = json(&mut ship());
    let total = card["student"]["evaluation"]["total"].as_u64().unwrap();
    assert_eq!((total, card["tried"].as_array().unwrap().len()), (12, 7));
    let said = succeed(kd(at).args(["predict", "shipped/model.onnx", "photos/val", "--json"]));
    let right = said.stdout.lines().filter(|line| {
        let said: Value = serde_json::from_str(line).unwrap();
        let class = said["classes"][0]["class"].as_str().unwrap().to_owned();
        said["file"].as_str().unwrap().split('/').any(|part| part == class)
    });
    assert_eq!(card["student"]["evaluation"]["correct"], right.count(), "as the card says");

    succeed(kd(at).args(["run", "shipped/work/student.toml", "--out", "again"]));
    let last =
        |out: &str| finals(&at.join(out)).iter().map(|r| r["last"].clone()).collect::<Vec<_>>();
    assert_eq!(last("again"), last("shipped/work/student"));

    let bad = |args: &[&str]| end(kd(at).args(["ship", "photos"]).args(args));
    refused(
        &bad(&["--teacher", TEACHER, "--student", "shrink:40", "--out", "other"]),
        78,
        "40 times smaller",
        "images too small",
    );
    refused(&bad(&["--teacher", "none.onnx", "--out", "more"]), 66, "none.onnx", "no teacher");
    assert!(!at.join("more/model.onnx").exists() && fs::read_dir(at.join("shipped")).is_ok());
}
