//! `kd attack`: figures that fit the files beside them, resumed exactly, bad input refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use candle_core::{Device, Tensor};
use kd_core::checkpoint;
use kd_data::{Dataset, SyntheticObjects};
use serde_json::Value;

use crate::support::{Running, end, files, json, kd, refused, succeed, write_mnist};

/// A folder with digits in the files of MNIST and a network trained on them.
fn digits() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_mnist(&folder.path().join("data"), 300, 250);
    let train = ["train", "--model", "mlp-12", "--epochs", "8", "--out", "run"];
    let fast = ["--learning-rate", "0.01", "--batch-size", "16", "--crop-padding", "0"];
    succeed(kd(folder.path()).args(train).args(fast));
    folder
}

const WEIGHTS: &str = "run/checkpoints/mlp-12-seed0/student";

/// `kd attack` on that network.
fn attack(at: &Path, flags: &[&str]) -> Command {
    let mut command = kd(at);
    command.args(["attack", "--weights", WEIGHTS]).args(flags);
    command
}

/// What does not depend on the clock.
fn timeless(mut output: Value) -> Value {
    for attack in output["attacks"].as_array_mut().unwrap() {
        assert!(attack.as_object_mut().unwrap().remove("seconds").is_some());
    }
    output
}

fn values<T: candle_core::WithDType>(tensors: &BTreeMap<String, Tensor>, name: &str) -> Vec<T> {
    tensors[name].flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn figures_fit_the_images_that_are_kept() {
    let folder = digits();
    let at = folder.path();
    let pgd = ["--attack", "pgd", "--set", "n_steps=5", "--set", "step_size=0.03", "--n", "220"];
    let flags = ["--eps", "0.05,0.15", "--transfer", WEIGHTS, "--out", "adv"];
    let output = json(attack(at, &pgd).args(flags));
    let [near, far] = &output["attacks"].as_array().unwrap()[..] else { panic!("two radii") };
    assert_eq!(
        (&near["eps"], &far["eps"], &far["norm"]),
        (&0.05.into(), &0.15.into(), &"linf".into())
    );
    assert_eq!((&near["total"], &near["settings"]["n_steps"]), (&220.into(), &5.into()));
    let count = |attack: &Value, key: &str| attack[key].as_u64().unwrap();
    assert!(count(near, "correct") > 110, "the network has learned: {near}");
    assert!(count(far, "robust") < count(near, "robust"), "{output}");
    assert!(count(near, "robust") < count(near, "correct"), "{output}");
    // Shown to the same network.
    let transfer = &far["transfer"][0];
    for key in ["correct", "robust"] {
        assert_eq!(transfer[key], far[key]);
    }
    assert_eq!(transfer["fooled_both"], count(far, "correct") - count(far, "robust"));
    assert_eq!(output["census"]["total"], 220);
    assert_eq!(output["audit"], Value::Null);

    let (pixels, true_labels) = clean(at);
    let tensors = checkpoint::load_tensors(&at.join("adv/pgd-eps0.15.safetensors"), &Device::Cpu);
    let tensors = tensors.unwrap();
    assert_eq!(tensors["images"].dims(), [220, 1, 28, 28]);
    let adversarial: Vec<f32> = values(&tensors, "images");
    let far_off = adversarial.iter().zip(&pixels).filter(|(a, b)| (*a - *b).abs() > 0.150_001);
    assert_eq!(far_off.count(), 0);
    assert!(adversarial.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    let (labels, after): (Vec<u32>, Vec<u32>) =
        (values(&tensors, "labels"), values(&tensors, "predictions"));
    assert_eq!(labels, true_labels);
    assert_eq!(values::<u32>(&tensors, "indices"), (0..220).collect::<Vec<u32>>());
    let wrong = labels.iter().zip(&after).filter(|(label, after)| label != after).count() as u64;
    assert!(wrong >= count(far, "correct") - count(far, "robust"));
    let pictures = &far["pictures"];
    let png = fs::read(at.join("adv").join(pictures["file"].as_str().unwrap())).unwrap();
    assert_eq!(&png[1..4], b"PNG");
    let rows: Vec<[u32; 2]> = serde_json::from_value(pictures["labels"].clone()).unwrap();
    assert_eq!(rows, (0..8).map(|i| [labels[i], after[i]]).collect::<Vec<_>>());
    let kept: Value =
        serde_json::from_slice(&fs::read(at.join("adv/result.json")).unwrap()).unwrap();
    assert_eq!(kept, output);

    let table =
        succeed(attack(at, &pgd).args(["--eps", "0.15"]).args(["--transfer", WEIGHTS])).stdout;
    let robust = format!("{:.2} %", 100.0 * far["robust_accuracy"].as_f64().unwrap());
    assert!(table.contains(&robust) && table.contains(&format!("shown to {WEIGHTS}")), "{table}");
}

/// Pixels and labels of the first 220 test images of [`digits`].
fn clean(at: &Path) -> (Vec<f32>, Vec<u32>) {
    let part = kd_data::Split::Test;
    let images = kd_data::Mnist::default().load_split(Some(&at.join("data")), part).unwrap();
    let pixels = images.pixels().iter().take(220 * 784).map(|&pixel| f32::from(pixel) / 255.0);
    (pixels.collect(), images.labels()[..220].to_vec())
}

#[test]
fn an_interrupted_attack_goes_on_to_the_same_files() {
    let folder = digits();
    let at = folder.path();
    let long = |out: &str| {
        let pgd = ["--attack", "pgd", "--set", "n_steps=40", "--eps", "0.02,0.1"];
        let mut command = attack(at, &pgd);
        command.args(["--only-correct", "--out", out, "--threads", "1"]);
        command
    };
    let mut first = Running::start(&mut long("stopped"));
    let group = at.join("stopped/checkpoints/pgd-eps0.02-0000");
    first.wait_until(|| group.exists());
    let stopped = first.terminate();
    assert_eq!(stopped.code, Some(75), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("the same command goes on from here"), "{}", stopped.stderr);
    assert!(!at.join("stopped/result.json").exists(), "it went on to its end");
    let before = fs::read(group.join("state.json")).unwrap();
    let (stopped, whole) = (json(&mut long("stopped")), json(&mut long("whole")));
    assert_eq!(fs::read(group.join("state.json")).unwrap(), before, "done once is enough");
    assert_eq!(timeless(stopped), timeless(whole));
    let (one, two) = (files(&at.join("stopped")), files(&at.join("whole")));
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    let is_timeless = |name: &Path| {
        let name = name.file_name().unwrap().to_str().unwrap();
        !["state.json", "manifest.json", "result.json"].contains(&name)
    };
    for (name, bytes) in one.iter().filter(|(name, _)| is_timeless(name)) {
        assert!(*bytes == two[name], "{} differs", name.display());
    }

    let other = end(long("whole").args(["--seed", "1"]));
    refused(&other, 78, "holds another run", "another seed");
    let damaged = at.join("whole/checkpoints/pgd-eps0.1-0000/state.json");
    fs::write(&damaged, b"{}").unwrap();
    refused(&end(&mut long("whole")), 65, "damaged", "a damaged group");
}

#[test]
fn rounded_images_are_classified_as_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let objects = SyntheticObjects { n_train: 250, n_test: 110, ..SyntheticObjects::default() };
    let splits = objects.load(None).unwrap();
    let record = |images: &kd_data::Images, i: usize| {
        [&[images.labels()[i] as u8], images.image(i)].concat()
    };
    let write = |file: String, images: &kd_data::Images, rows: std::ops::Range<usize>| {
        let bytes: Vec<u8> = rows.flat_map(|i| record(images, i)).collect();
        fs::write(at.join("data").join(file), bytes).unwrap();
    };
    fs::create_dir(at.join("data")).unwrap();
    for i in 0..5 {
        write(format!("data_batch_{}.bin", i + 1), &splits.train, 50 * i..50 * i + 50);
    }
    write("test_batch.bin".into(), &splits.test, 0..110);
    let train = ["train", "--model", "mlp-12", "--data", "cifar10", "--epochs", "2"];
    succeed(kd(at).args(train).args(["--batch-size", "25", "--out", "run"]));

    let fgsm = ["--attack", "fgsm", "--eps", "0.02", "--data", "cifar10", "--out", "adv"];
    json(&mut attack(at, &fgsm));
    let mut n_right = 0;
    for group in ["0000", "0001"] {
        let path = at.join("adv/checkpoints").join(format!("fgsm-eps0.02-{group}/state.json"));
        let state: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let own = state["own"].as_array().unwrap();
        n_right += own.iter().filter(|outcome| outcome["rounded"] == outcome["label"]).count();
    }
    let evaluate = ["eval", "--weights", WEIGHTS];
    let data = ["--data", "folder:adv/fgsm-eps0.02-png"];
    let evaluated = json(kd(at).args(evaluate).args(data));
    assert_eq!((&evaluated["total"], &evaluated["correct"]), (&110.into(), &n_right.into()));
}

#[test]
fn an_audit_prints_checks_and_a_verdict() {
    let folder = digits();
    let at = folder.path();
    let flags = ["--audit", "--eps", "0.1", "--n", "60", "--out", "audit"];
    let table = succeed(&mut attack(at, &flags)).stdout;
    assert!(table.contains("PASS  outputs-are-logits"), "{table}");
    let output = json(&mut attack(at, &flags));
    let audit = &output["audit"];
    assert_eq!(audit["checks"].as_array().unwrap().len(), 11);
    assert!(table.contains(audit["words"].as_str().unwrap()), "{table}");
    assert!(audit["words"].as_str().unwrap().contains("radius 0.1"), "{audit}");
    assert_eq!(output["attacks"], Value::Array(Vec::new()));
}

#[test]
fn bad_flags_are_refused_before_anything_is_written() {
    let folder = digits();
    let at = folder.path();
    let pgd = ["--attack", "pgd"];
    for (flags, words) in [
        (&["--attack", "walk"][..], "`attack`: `walk` is none of fgsm"),
        (&["--attack", "pgd", "--set", "steps=3"], "steps"),
        (&["--attack", "pgd", "--set", "n_steps=0"], "`n_steps`"),
        (&["--attack", "pgd", "--set", "n_steps=many"], "many"),
        (&["--attack", "pgd", "--eps", "-0.1"], "`eps`"),
        (&["--attack", "pgd", "--eps", "0.1,1.5"], "`eps`"),
        (&["--attack", "pgd", "--eps", "0.1,0.1"], "given twice"),
        (&["--attack", "cw", "--eps", "0.1"], "no radius"),
        (&["--audit", "--eps", "-0.1"], "`eps`"),
        (&["--attack", "pgd", "--n", "0"], "`n`"),
        (&["--attack", "pgd", "--data", "walls"], "`walls`"),
        (&["--attack", "pgd", "--mean", "0", "--std", "1"], "leave out --mean and --std"),
        (&["--attack", "pgd", "--model", "mlp-13"], "leave out --model"),
        (&["--attack", "pgd", "--transfer", WEIGHTS, "--transfer-model", "walk"], "`walk`"),
    ] {
        let ended = end(attack(at, flags).args(["--out", "bad"]));
        refused(&ended, 78, words, &format!("{flags:?}"));
        assert!(!at.join("bad").exists(), "{flags:?} left a folder");
    }
    let missing = end(attack(at, &pgd).args(["--transfer", "nowhere.safetensors"]));
    refused(&missing, 66, "nowhere.safetensors", "missing weights");
    assert_eq!(end(&mut attack(at, &["--eps", "0.1"])).code, Some(2), "neither attack nor audit");
}
