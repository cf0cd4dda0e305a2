//! Teachers that run elsewhere, several of them, and patient ones, through the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{Device, Tensor};
use kd_core::{Classifier, Mode, Net, checkpoint};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::photos::draw;
use crate::support::{end, files, kd, records, refused, succeed};

const SEEN: [&str; 7] = ["--data", "photos:parts", "--crop", "32", "--views", "3", "--flip"];
const STUDENT: [&str; 9] =
    ["train", "--model", "mlp-8", "--epochs", "4", "--batch-size", "5", "--temperature", "4"];

/// A training that shows three versions of each of 24 photographs.
fn train(at: &Path, out: &str, flags: &[&str]) -> Command {
    let mut command = kd(at);
    command.args(STUDENT).args(SEEN).args(["--out", out]).args(flags);
    command
}

fn weights(at: &Path, out: &str) -> BTreeMap<String, Vec<f32>> {
    let path = at.join(out).join("checkpoints/mlp-8-seed0/student");
    let (tensors, _) = checkpoint::load_network(&path, &Device::Cpu).unwrap();
    let values = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, values(tensor))).collect()
}

/// A teacher of two epochs, and where its weights lie.
fn teacher(at: &Path, out: &str, model: &str) -> String {
    let flags = ["--data", "photos:parts", "--crop", "32", "--epochs", "2", "--out", out];
    succeed(kd(at).args(["train", "--batch-size", "8", "--model", model]).args(flags));
    format!("{out}/checkpoints/{model}-seed0/student")
}

/// What the network at `weights` says of the pictures in `pixels`, in the order of their names, as a
/// safetensors file of `(views, N, K)`: another framework, which knows nothing of the data set.
fn label(at: &Path, weights: &str, list: Option<&str>) -> Vec<u8> {
    let (tensors, known) = checkpoint::load_network(&at.join(weights), &Device::Cpu).unwrap();
    let net = Net::with_weights(known.unwrap().graph, &tensors, &Device::Cpu).unwrap();
    let mut logits: Vec<f32> = Vec::new();
    for path in
        files(&at.join("pixels")).into_keys().collect::<std::collections::BTreeSet<PathBuf>>()
    {
        let rgb = image::open(at.join("pixels").join(path)).unwrap().into_rgb8();
        let pixels: Vec<f32> = rgb.as_raw().iter().map(|v| f32::from(*v) / 255.0).collect();
        let pixels = Tensor::from_vec(pixels, (32, 32, 3), &Device::Cpu).unwrap();
        let pixels = pixels.permute((2, 0, 1)).unwrap().unsqueeze(0).unwrap().contiguous().unwrap();
        let row = net.forward(&pixels, Mode::Eval).unwrap().flatten_all().unwrap();
        logits.extend(row.to_vec1::<f32>().unwrap());
    }
    let bytes: Vec<u8> = logits.iter().flat_map(|z| z.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![3, 24, 2], &bytes).unwrap();
    let list = list.map(|list| [("kd.views".to_owned(), list.to_owned())].into());
    safetensors::serialize([("logits", view)], list).unwrap()
}

#[test]
fn a_teacher_that_labels_what_is_listed_teaches_as_the_network_itself() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw(at, "all");
    succeed(kd(at).args(["data", "split", "all", "--out", "parts", "--val", "0.2", "--seed", "1"]));
    let (a, b) = (teacher(at, "a", "resnet8"), teacher(at, "b", "mlp-12"));
    let list = ["data", "views", "--out", "views.jsonl", "--pixels", "pixels", "--json"];
    let listed = succeed(kd(at).args(list).args(SEEN)).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let digest = listed["header"]["digest"].as_str().unwrap();
    assert_eq!(listed["pictures"], 72);
    let lines = fs::read_to_string(at.join("views.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]), (73, &listed["header"]));
    assert_eq!((&lines[25]["view"], &lines[25]["index"]), (&1.into(), &0.into()));
    assert!(at.join("parts/train").join(lines[25]["file"].as_str().unwrap()).exists());
    refused(&end(kd(at).args(list).args(SEEN)), 73, "--force", "a list in its place");

    fs::write(at.join("a.safetensors"), label(at, &a, Some(digest))).unwrap();
    fs::write(at.join("b.safetensors"), label(at, &b, None)).unwrap();
    for (out, network, logits) in [
        ("one", &["--teacher", &*a][..], &["--teacher-logits", "a.safetensors"][..]),
        (
            "mean",
            &["--teacher", &a, "--teacher", &b, "--average", "probabilities"],
            &[
                "--teacher-logits",
                "a.safetensors",
                "--teacher-logits",
                "b.safetensors",
                "--average",
                "probabilities",
            ],
        ),
    ] {
        succeed(&mut train(at, out, network));
        let from_file = format!("{out}-file");
        let ended = succeed(&mut train(at, &from_file, logits));
        assert!(ended.stderr.contains("% of the training images"), "{}", ended.stderr);
        let is_said = ended.stderr.contains("b.safetensors: does not say which list");
        assert_eq!(is_said, out == "mean", "{}", ended.stderr);
        assert_eq!(weights(at, out), weights(at, &from_file), "{out}");
    }
    assert_ne!(weights(at, "one"), weights(at, "mean"));
    let spec = fs::read_to_string(at.join("mean-file/spec.toml")).unwrap();
    assert!(spec.matches("sha256").count() > 2 && spec.contains("temperature = 4"), "{spec}");

    let logits = ["--teacher-logits", "a.safetensors"];
    let seen = ["--data", "photos:parts", "--crop", "32"];
    for (flags, words) in [
        (&["--views", "4", "--flip"][..], "need (24, 2) or (4, 24, 2): `kd data views`"),
        (&["--views", "3", "--flip", "--holdout", "4"], "the 20 training images"),
        (&["--views", "3"], "follows the list"),
        (&["--flip"], "since every epoch shows other versions"),
    ] {
        let mut command = kd(at);
        command.args(STUDENT).args(seen).args(logits).args(flags).args(["--out", "no"]);
        refused(&end(&mut command), 78, words, "logits of other images");
        assert!(!at.join("no/metrics.jsonl").exists(), "before anything is written");
    }
}

#[test]
fn a_second_training_on_the_same_versions_spends_nothing_in_the_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw(at, "all");
    succeed(kd(at).args(["data", "split", "all", "--out", "parts", "--val", "0.2", "--seed", "1"]));
    let a = teacher(at, "a", "resnet8");
    succeed(&mut train(at, "plain", &["--teacher", &a]));
    for stored_as in ["f32", "8-bit"] {
        let out = |n: usize| format!("{stored_as}-{n}");
        let computed: Vec<Value> = (0..2)
            .map(|n| {
                let flags = ["--teacher", &a, "--soft-targets", stored_as];
                succeed(&mut train(at, &out(n), &flags));
                let record = records(&at.join(out(n)), "soft_targets").remove(0);
                assert_eq!((&record["asked"], &record["n_views"]), (&96.into(), &3.into()));
                assert_eq!(record["bytes"], if stored_as == "f32" { 72 * 20 } else { 72 * 2 });
                record["computed"].clone()
            })
            .collect();
        // Three versions of 24 photographs, in four epochs; then nothing.
        assert_eq!(computed, [Value::from(72), 0.into()]);
        assert_eq!(weights(at, &out(0)), weights(at, &out(1)));
        assert_eq!(weights(at, &out(0)) == weights(at, "plain"), stored_as == "f32");
    }
    let mixed = ["--teacher", &a, "--mixup", "1"];
    let ended = end(&mut train(at, "no", &mixed));
    refused(&ended, 78, "with alpha = 1", "labels of mixed images");
    assert!(!at.join("no/metrics.jsonl").exists(), "before anything is written");
    for (out, computed) in [("mixed", 72), ("again", 0)] {
        let flags = ["--alpha", "1", "--soft-targets", "8-bit"];
        succeed(train(at, out, &mixed).args(flags));
        assert_eq!(records(&at.join(out), "soft_targets")[0]["computed"], computed);
    }
    assert_eq!(weights(at, "mixed"), weights(at, "again"));
}
