//! From a network's weights to a classifier of other classes, through the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use kd_core::checkpoint;
use serde_json::Value;

use crate::photos::draw;
use crate::support::{end, kd, succeed};

fn tensors(at: &Path) -> BTreeMap<String, Vec<f32>> {
    let (tensors, _) = checkpoint::load_network(at, &Device::Cpu).unwrap();
    let values = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, values(tensor))).collect()
}

#[test]
fn a_network_gets_a_new_head_and_says_what_is_in_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    draw(at, "all");
    let model = ["--model", "resnet8", "--crop", "32", "--augment", "none", "--batch-size", "8"];
    // A network of one class more, which begins with pictures of another kind.
    fs::create_dir_all(at.join("more")).unwrap();
    for class in ["a", "b", "c"] {
        let from = fs::read_dir(at.join("all")).unwrap().next().unwrap().unwrap().path();
        fs::create_dir(at.join("more").join(class)).unwrap();
        for file in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()).take(4) {
            fs::copy(file.path(), at.join("more").join(class).join(file.file_name())).unwrap();
        }
    }
    let first =
        ["train", "--data", "photos:more", "--holdout", "0.25", "--epochs", "1", "--out", "first"];
    succeed(kd(at).args(first).args(model));
    let no_test_set =
        ["train", "--data", "photos:more", "--holdout", "0.25", "--out", "no", "--keep-best"];
    let ended = end(kd(at).args(no_test_set).args(model));
    assert!(ended.code == Some(78) && ended.stderr.contains("kd data split"), "{}", ended.stderr);
    assert!(!at.join("no/metrics.jsonl").exists(), "before anything is written");
    succeed(kd(at).args(["data", "split", "all", "--out", "parts", "--val", "0.2", "--seed", "1"]));

    let trained = "first/checkpoints/resnet8-seed0/student";
    let second =
        ["train", "--data", "photos:parts", "--holdout", "6", "--epochs", "3", "--out", "second"];
    let tuned = ["--init", trained, "--freeze", "!linear", "--keep-best", "--learning-rate", "0.1"];
    let ended = succeed(kd(at).args(second).args(model).args(tuned));
    let note = "its head `linear` is new, for 2 classes in place of 3";
    assert!(ended.stderr.contains(note), "{}", ended.stderr);
    let student = "second/checkpoints/resnet8-seed0/student";
    let (before, after) = (tensors(&at.join(trained)), tensors(&at.join(student)));
    for (name, values) in &after {
        assert_eq!(values == &before[name], !name.starts_with("linear."), "{name}");
    }

    let known = fs::read_to_string(at.join(student).join("network.json")).unwrap();
    let known: Value = serde_json::from_str(&known).unwrap();
    assert!(known["temperature"].as_f64().unwrap() > 0.0 && known["resize"] == 37, "{known}");
    let names: Vec<&str> = known["class_names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let said = succeed(kd(at).args(["predict", student, "parts/val", "--json"]));
    assert_eq!(said.stdout.lines().count(), 6);
    for line in said.stdout.lines() {
        let classes = &serde_json::from_str::<Value>(line).unwrap()["classes"];
        let [one, two] = [0, 1].map(|i| classes[i]["probability"].as_f64().unwrap());
        assert!((one + two - 1.0).abs() < 1e-9 && one >= two, "{line}");
        assert!(names.contains(&classes[0]["class"].as_str().unwrap()), "{line}");
    }
    let ended = end(kd(at).args(["predict", student, "nothing.jpg", "parts/val"]));
    assert_eq!((ended.code, ended.stdout.lines().count()), (Some(65), 6), "the others are told");
    assert!(ended.stderr.contains("nothing.jpg"), "{}", ended.stderr);
}
