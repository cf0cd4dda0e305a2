//! What needs the real MNIST: runs where `KD_DATA_DIR` names its folder, and says so.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{kd, succeed};

#[test]
fn one_epoch_teaches_a_small_network_most_digits() {
    let Some(data) = std::env::var_os("KD_DATA_DIR").map(PathBuf::from) else {
        println!("real MNIST: skipped, KD_DATA_DIR is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let args = ["train", "--model", "mlp-30-30", "--epochs", "1", "--crop-padding", "0"];
    let mut train = kd(folder.path());
    train.args(args).args(["--out", "out", "--data-dir"]).arg(fs::canonicalize(data).unwrap());
    succeed(&mut train);
    let metrics = fs::read_to_string(folder.path().join("out/metrics.jsonl")).unwrap();
    let records: Vec<Value> = metrics.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let last = records.iter().find(|record| record["event"] == "final").unwrap();
    let top1 = last["last"]["top1"].as_f64().unwrap();
    println!("real MNIST: 784-30-30-10 has {top1} right after one epoch");
    assert_eq!(last["last"]["total"], 10_000);
    assert!(top1 >= 0.85, "{top1}");
}
