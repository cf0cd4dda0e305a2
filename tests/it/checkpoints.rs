//! Checkpoints as people have them, through the program; and which classes they are of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{Device, Tensor};
use kd_adv::encode_png;
use kd_core::checkpoint::{self, Description};
use kd_models::ModelSpec;
use kd_models::weights::{save_network, save_safetensors};
use serde_json::Value;

use crate::support::{end, kd, refused, succeed, write_mnist};

/// The network of the golden files.
const TINY: [&str; 6] = ["--model", "mlp-3", "--image-shape", "1,2,2", "--classes", "2"];

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden/checkpoints", name].iter().collect()
}

#[test]
fn the_same_weights_come_out_of_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let import = |name: &str, flags: &[&str]| {
        let (mut command, out) = (kd(at), format!("{name}.safetensors"));
        command.arg("import").arg(golden(name)).args(TINY).args(flags).args(["--out", &out]);
        let ended = succeed(&mut command);
        (fs::read(at.join(out)).unwrap(), ended.stderr)
    };
    let (plain, _) = import("plain.pth", &[]);
    for (name, flags, says) in [
        ("objects.pth", &[][..], "takes the tensors of `state_dict`"),
        ("scheduler.pth", &[], "takes the tensors of `model`"),
        ("compiled.pth", &[], "`_orig_mod.` is taken away from before the names"),
        ("deflated.pth", &[], ""),
        ("negative.pth", &[], ""),
        ("legacy-2.pth", &[], ""),
        ("reference.pth", &["--key", "model_ema"], "1 passed over: n_averaged (i64 [])"),
        ("lightning.pth", &["--strip-prefix", "model.student."], "5 passed over"),
    ] {
        let (bytes, stderr) = import(name, flags);
        assert!(bytes == plain, "{name}");
        assert!(stderr.contains(says), "{name}: {stderr}");
    }
    let export = |file: &Path, out: &str, flags: &[&str]| {
        let mut command = kd(at);
        command.args(["export", "--format", "onnx", "--out", out, "--weights"]).arg(file);
        let ended = succeed(command.args(TINY).args(flags));
        (fs::read(at.join(out)).unwrap(), ended.stderr)
    };
    let ours = export(&at.join("plain.pth.safetensors"), "a.onnx", &[]).0;
    let key = ["--key", "model_ema", "--strip-prefix", "module."];
    let (bytes, stderr) = export(&golden("reference.pth"), "b.onnx", &key);
    assert!(bytes == ours && stderr.contains("takes the tensors of `model_ema`"), "{stderr}");
}

#[test]
fn nothing_of_the_users_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::copy(golden("plain.pth"), at.join("plain.pth")).unwrap();
    fs::write(at.join("config.json"), "theirs").unwrap();
    let import = ["import", "plain.pth", "--out", "plain.pth"];
    let export =
        ["export", "--weights", "plain.pth", "--format", "safetensors", "--out", "new.safetensors"];
    for command in [&import[..], &export] {
        let ended = end(kd(at).args(command).args(TINY));
        refused(&ended, 73, "it exists; --force writes over it", command[0]);
    }
    assert_eq!(fs::read(at.join("plain.pth")).unwrap(), fs::read(golden("plain.pth")).unwrap());
    assert_eq!(fs::read(at.join("config.json")).unwrap(), b"theirs");
    assert!(!at.join("new.safetensors").exists());
}

#[test]
fn a_dry_run_shows_all_of_a_file_and_what_becomes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let dry = |flags: &[&str]| {
        let mut command = kd(folder.path());
        command.arg("import").arg(golden("lightning.pth")).arg("--dry-run").args(flags);
        let list = succeed(&mut command).stdout;
        list.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let tree: Vec<String> = dry(&[]);
    for line in [
        "epoch int 9",
        "hyper_parameters object __main__.Settings, not loaded",
        "state_dict.loss.temperature f32 []",
    ] {
        assert!(tree.iter().any(|other| other == line), "{line} is not in {tree:?}");
    }
    let fates: Vec<String> = dry(&[&TINY[..], &["--strip-prefix", "model.student."]].concat());
    for line in [
        "epoch int 9 not loaded",
        "state_dict.loss.temperature f32 [] passed over",
        "state_dict.model.student.fc1.weight f32 [3, 4] -> fc1.weight",
        "state_dict.model.teacher.fc1.weight f32 [3, 4] passed over",
    ] {
        assert!(fates.iter().any(|other| other == line), "{line} is not in {fates:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
}

/// A training for `mlp-20` on few digits; gives the folder of its checkpoint.
fn train(at: &Path) -> PathBuf {
    write_mnist(&at.join("data"), 100, 50);
    succeed(kd(at).args(["train", "--model", "mlp-20", "--epochs", "1", "--out", "run"]));
    at.join("run/checkpoints/mlp-20-seed0/student")
}

/// What `kd eval` says on stdout, but for the speed, and on stderr.
fn eval(at: &Path, weights: &Path, flags: &[&str]) -> (Value, String) {
    let mut command = kd(at);
    command.args(["eval", "--json", "--weights"]).arg(weights).args(flags);
    let ended = succeed(&mut command);
    let mut value: Value = serde_json::from_str(&ended.stdout).unwrap();
    value.as_object_mut().unwrap().remove("images_per_second");
    (value, ended.stderr)
}

#[test]
fn every_command_that_reads_weights_shows_them_in_a_dry_run() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (tensors, _) = checkpoint::load_network(&train(at), &Device::Cpu).unwrap();
    let within = tensors.into_iter().map(|(name, tensor)| (format!("net.{name}"), tensor));
    save_safetensors(&at.join("a.safetensors"), &within.collect()).unwrap();
    let n_files = || fs::read_dir(at).unwrap().count();
    let before = n_files();
    let (weights, images) = (["--weights", "a.safetensors"], ["--image-shape", "1,28,28"]);
    for flags in [
        &[&["eval"], &weights[..]].concat()[..],
        &[&["attack"], &weights[..]].concat(),
        &[&["export"], &weights[..], &images].concat(),
        &[&["cut"], &weights[..], &images].concat(),
        &["train", "--init", "a.safetensors"],
        &["train", "--teacher", "a.safetensors", "--teacher-model", "mlp-20"],
    ] {
        let list = succeed(kd(at).args(flags).args(["--model", "mlp-20", "--dry-run"])).stdout;
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = "net.fc1.weight f32 [20, 784] -> fc1.weight";
        assert!(list.lines().any(|line| words(line) == wanted), "{flags:?}: {list}");
    }
    assert_eq!(n_files(), before, "nothing was written");
    let ended = end(kd(at).args(["train", "--model", "mlp-20", "--dry-run"]));
    refused(&ended, 78, "no file of weights is given", "without a file");
    let eval = ["eval", "--weights", "a.safetensors", "--model", "mlp-30", "--dry-run"];
    let ended = end(kd(at).args(eval));
    assert!(
        ended.code == Some(78) && ended.stdout.contains("of another shape"),
        "{}",
        ended.stdout
    );
}

#[test]
fn every_command_that_reads_weights_takes_key_and_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let own = train(at);
    let (tensors, _) = checkpoint::load_network(&own, &Device::Cpu).unwrap();
    let mut both = BTreeMap::new();
    for (name, tensor) in &tensors {
        both.insert(format!("net.student.{name}"), tensor.clone());
        both.insert(format!("net.teacher.{name}"), tensor.neg().unwrap());
    }
    save_safetensors(&at.join("both.safetensors"), &both).unwrap();
    let file = at.join("both.safetensors");
    let prefix = ["--model", "mlp-20", "--strip-prefix", "net.student."];
    let (got, stderr) = eval(at, &file, &prefix);
    assert_eq!(got["nll"], eval(at, &own, &[]).0["nll"]);
    assert!(stderr.contains("`net.student.` is taken away"), "{stderr}");
    let ended = end(kd(at).args(["eval", "--model", "mlp-20", "--weights"]).arg(&file));
    refused(&ended, 78, "--strip-prefix net.student., net.teacher.", "two networks");

    fs::write(at.join("suite.toml"), include_str!("tiny.toml")).unwrap();
    fs::copy(golden("reference.pth"), at.join("reference.pth")).unwrap();
    let weights = ["--weights", "reference.pth", "--model", "mlp-3"];
    let teacher = ["--teacher", "reference.pth", "--teacher-model", "mlp-3"];
    let commands: [Vec<&str>; 6] = [
        [&["eval"][..], &weights].concat(),
        [&["attack", "--attack", "fgsm"][..], &weights].concat(),
        [&["export", "--format", "onnx", "--out", "x"][..], &weights].concat(),
        ["import", "reference.pth", "--model", "mlp-3", "--out", "x"].into(),
        [&["train", "--model", "mlp-4", "--out", "x"][..], &teacher].concat(),
        [&["run", "suite.toml", "--synthetic", "--out", "x"][..], &teacher].concat(),
    ];
    for command in &commands {
        for (flag, words) in [
            (["--key", "no"], "reference.pth: no dictionary `no`; the file has: "),
            (["--strip-prefix", "no."], "reference.pth: no name starts with `no.`; the first is "),
        ] {
            refused(&end(kd(at).args(command).args(flag)), 78, words, &format!("{command:?}"));
        }
    }
    let ended = end(kd(at).args(["train", "--model", "mlp-4", "--out", "x", "--key", "no"]));
    refused(&ended, 78, "give --teacher", "no teacher");
    let checkpoint = own.to_str().unwrap();
    let ended = end(kd(at).args(["eval", "--weights", checkpoint, "--key", "model"]));
    refused(&ended, 78, "leave out --key and --strip-prefix", "a checkpoint of kd");
    assert!(!at.join("x").exists());
}

#[test]
fn what_is_no_file_of_weights_is_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(Command::new("mkfifo").arg(at.join("pipe.pth")).status().unwrap().success());
    for (name, content) in [
        ("empty.pth", ""),
        ("page.pth", "<!DOCTYPE html>\n<html><body>404</body></html>"),
        ("pointer.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
        ("page.onnx", "\n<html></html>"),
    ] {
        fs::write(at.join(name), content).unwrap();
    }
    fs::create_dir(at.join("folder.pth")).unwrap();
    for (name, words) in [
        ("pipe.pth", "not a file but a pipe or device"),
        ("/dev/zero", "not a file but a pipe or device"),
        ("empty.pth", "an empty file"),
        ("page.pth", "a web page"),
        ("page.onnx", "a web page"),
        ("pointer.safetensors", "`git lfs pull` gets it"),
    ] {
        let ended = end(kd(at)
            .args(["export", "--format", "onnx", "--out", "x", "--weights", name])
            .args(["--model", "mlp-3"]));
        refused(&ended, 65, words, name);
    }
    let import = ["import", "folder.pth", "--model", "mlp-3", "--out", "x"];
    // A folder is a checkpoint of kd, or none.
    refused(&end(kd(at).args(import)), 66, "folder.pth/manifest.json: not found", "import");
    // Whole networks with their code, and calls, are named and not carried out.
    for (name, words) in [
        ("module.pth", "it is a whole network (__main__.Network) with its code"),
        ("torchscript.pt", "a TorchScript archive, which is a program"),
    ] {
        let mut command = kd(at);
        command.arg("import").arg(golden(name)).args(TINY).args(["--out", "x"]);
        refused(&end(&mut command), 65, words, name);
    }
    let mut command = kd(at);
    command.arg("import").arg(golden("head.pth")).args(TINY).args(["--out", "x"]);
    refused(&end(&mut command), 78, "--classes 5 takes it as it is", "another head");
}

/// The network at `own` with the classes `order` of it, in this order, under the names of `names`.
fn reordered(own: &Path, out: &Path, (order, names): (&[u32], &[&str])) {
    let (mut tensors, known) = checkpoint::load_network(own, &Device::Cpu).unwrap();
    let rows = Tensor::new(order, &Device::Cpu).unwrap();
    for name in ["fc2.weight", "fc2.bias"] {
        let some = tensors[name].index_select(&rows, 0).unwrap();
        tensors.insert(name.into(), some);
    }
    let normalize = known.unwrap().graph.normalization().cloned().unwrap();
    let model = ModelSpec::from_name("mlp-20").unwrap();
    let graph = model.as_dyn().graph([1, 28, 28], order.len()).unwrap();
    let graph = graph.normalized(&normalize.mean, &normalize.std).unwrap();
    let class_names = names.iter().map(|name| (*name).to_owned()).collect();
    save_network(out, &tensors, &Description { class_names, ..Description::new("mlp-20", graph) })
        .unwrap();
}

#[test]
fn networks_judge_the_classes_of_the_data_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let own = train(at);
    let (want, stderr) = eval(at, &own, &[]);
    assert_eq!(stderr, "");
    let order = [9, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 1];
    let names = ["9", "zero", "0", "1", "2", "3", "4", "5", "6", "7", "8", "one"];
    for n in [11, 12] {
        let file = at.join(format!("{n}.safetensors"));
        reordered(&own, &file, (&order[..n], &names[..n]));
        let (got, stderr) = eval(at, &file, &[]);
        for key in ["correct", "top1", "top5", "confusion"] {
            assert_eq!(got[key], want[key], "{key}");
        }
        let words = format!("tells {n} classes apart; the 10 of the data are found among them");
        assert!(stderr.contains(&words), "{stderr}");
    }
    // The same number of classes in another order; other names.
    let backwards: Vec<u32> = (0..10).rev().collect();
    let file = at.join("backwards.safetensors");
    reordered(&own, &file, (&backwards, &["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]));
    assert_eq!(eval(at, &file, &[]).0["confusion"], want["confusion"]);
    let file = at.join("letters.safetensors");
    let order: Vec<u32> = (0..10).collect();
    reordered(&own, &file, (&order, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]));
    let (got, stderr) = eval(at, &file, &[]);
    assert_eq!(got["confusion"], want["confusion"]);
    assert!(
        stderr.contains("calls its classes a, b, c, d, e, ..., the data has 0, 1,"),
        "{stderr}"
    );

    let teach = |weights: &str, flags: &[&str]| {
        let mut command = kd(at);
        command.args(["train", "--model", "mlp-4", "--epochs", "1", "--teacher", weights]);
        command.args(flags);
        command
    };
    succeed(teach("12.safetensors", &[]).args(["--out", "student"]));
    // Without names, or without all of them, nothing is trained.
    let file = at.join("some.safetensors");
    reordered(&own, &file, (&order[..9], &names[..9]));
    let unnamed = at.join("unnamed.safetensors");
    reordered(&own, &unnamed, (&[0; 30], &[]));
    let tensors = candle_core::safetensors::load(&unnamed, &Device::Cpu).unwrap();
    let elsewhere = at.join("elsewhere.safetensors");
    save_safetensors(&elsewhere, &tensors.into_iter().collect()).unwrap();
    let model = ["--teacher-model", "mlp-20"];
    for (weights, flags, words) in [
        ("some.safetensors", &[][..], "it tells 9 classes apart, the data has 10; its names (9, "),
        (
            "unnamed.safetensors",
            &[],
            "it tells 30 classes apart, the data has 10; it does not name",
        ),
        (
            "elsewhere.safetensors",
            &model,
            "it tells 30 classes apart, the data has 10; it does not",
        ),
    ] {
        refused(&end(teach(weights, flags).args(["--out", "x"])), 78, words, weights);
        assert!(!at.join("x").exists(), "{weights} left a folder");
    }
}

#[test]
fn classes_have_their_names_in_results_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for split in ["train", "test"] {
        for class in 0..12 {
            let place = at.join("pictures").join(split).join(class.to_string());
            fs::create_dir_all(&place).unwrap();
            let pixels = vec![class as f32 / 12.0; 48];
            fs::write(place.join("a.png"), encode_png([3, 4, 4], &pixels).unwrap()).unwrap();
        }
    }
    let flags = ["--model", "mlp-4", "--crop-padding", "0", "--data", "folder:pictures"];
    let mut command = kd(at);
    command.args(["train", "--epochs", "1", "--out", "run"]).args(flags);
    let words = "class names sort as text, as torchvision sorts them: class 2 is `10`";
    let ended = succeed(&mut command);
    assert_eq!(ended.stderr.matches(words).count(), 1, "{}", ended.stderr);
    let weights = at.join("run/checkpoints/mlp-4-seed0/student");
    let (result, stderr) = eval(at, &weights, &["--data", "folder:pictures"]);
    assert_eq!(stderr.matches(words).count(), 1, "{stderr}");
    assert_eq!(result["class_names"][2], "10");
    let html = fs::read_to_string(at.join("run/report.html")).unwrap();
    let heads: Vec<&str> = html.split("</th>").filter_map(|head| head.rsplit('>').next()).collect();
    let order = ["0", "1", "10", "11", "2", "3"];
    assert!(heads.windows(order.len()).any(|some| some == order), "classes have their names");
}
