//! Bad input: for each kind an exit code and one line that says what is wrong; nothing is left.

use std::fs;
use std::path::Path;

use crate::support::{
    CNNS, MLPS, TRAIN_IMAGES, TRAIN_LABELS, end, files, folder_of, gzip, kd, kd_run, label_file,
    refused, settings_are_refused, succeed, write_mnist,
};

/// What is replaced in the suite, by what, and what the message must say.
const BAD_SETTINGS: [(&str, &str, &str); 39] = [
    ("n_epochs = 4", "n_epoch = 4", "unknown field `n_epoch`, expected one of `n_epochs`"),
    ("n_epochs = 4", "n_epochs = \"four\"", "suite.toml:8"),
    ("n_epochs = 4", "n_epochs = 0", "`n_epochs`: must be at least 1"),
    ("n_epochs = 4", "n_epochs = -1", "suite.toml:8"),
    ("n_epochs = 4", "", "n_epochs"),
    ("n_epochs = 4", "n_epochs = ", "suite.toml:8"),
    ("batch_size = 50", "batch_size = 0", "`batch_size`"),
    ("learning_rate = 3e-3", "learning_rate = 0", "`learning_rate`"),
    ("learning_rate = 3e-3", "learning_rate = nan", "`learning_rate`"),
    ("gamma = 0.95", "gamma = 0", "`schedule.gamma`: 0 is not in (0, 1]"),
    ("gamma = 0.95", "gama = 0.95", "gama"),
    ("\"exponential\"", "\"linear\"", "linear"),
    ("momentum = 0.9", "momentum = 1", "`optimizer.momentum`"),
    ("\"sgd\"", "\"lion\"", "lion"),
    ("crop_padding = 1", "crop_padding = 28", "crop_padding"),
    ("holdout = 100", "holdout = 600", "`holdout`"),
    ("n_train = 600", "n_train = 0", "`n_train`"),
    ("\"synthetic-digits\"", "\"digits\"", "digits"),
    ("dropout = 0.2", "dropout = 1.0", "dropout: p is 1, not in [0, 1)"),
    ("hidden = [16, 16]", "hidden = [0]", "`hidden`"),
    ("hidden = [16, 16]", "hidden = [4000000000, 4000000000]", "`hidden`"),
    ("hidden = [16, 16]", "width = 16", "unknown field `width`"),
    ("{ kind = \"mlp\", hidden = [16, 16] }", "{ kind = \"cnn\" }", "unknown variant `cnn`"),
    ("{ kind = \"mlp\", hidden = [16, 16] }", "{ hidden = [16, 16] }", "kind"),
    ("\nteacher = \"teacher\"", "\nteacher = \"tutor\"", "`tutor` is no training before"),
    ("\nteacher = \"teacher\"", "\nteacher = \"omit3\"", "`omit3` is no training before"),
    ("\nteacher = \"teacher\"", "", "`teacher`"),
    ("teacher = \"teacher\"\nomit", "teacher = \"student\"\nomit", "several models"),
    ("omit_class = 3", "omit_class = 10", "`omit_class`"),
    ("name = \"omit3\"", "name = \"student\"", "two trainings `student`"),
    ("name = \"label-smoothing\"", "name = \"baseline\"", "two students `baseline`"),
    ("name = \"label-smoothing\"", "name = \"../up\"", "`../up`"),
    ("\"baseline\", loss", "\"baseline\", claim = \"mnist/x\", loss", "`mnist/x`"),
    ("smoothing = 0.1", "smoothing = 1.0", "`smoothing`"),
    ("\"label-smoothing\", s", "\"hinge\", s", "unknown variant `hinge`"),
    ("temperature = [1, 4.5]", "temperature = [0]", "`temperature`: 0 is not above 0"),
    ("alpha = [0.5, 1.0]", "alpha = [1.5]", "`alpha`: 1.5 is not in [0, 1]"),
    ("trainings = [\"teacher\"]", "training = [\"teacher\"]", "`trainings`"),
    ("suite = \"tiny\"", "", "suite"),
];

#[test]
fn bad_settings_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    settings_are_refused(at, MLPS, &BAD_SETTINGS);
}

/// As [`BAD_SETTINGS`], for the suite of convolutional networks.
const BAD_CNN_SETTINGS: [(&str, &str, &str); 8] = [
    ("depth = 8 }", "depth = 9 }", "`depth`: 9 is none of"),
    ("depth = 8 }", "deep = 8 }", "unknown field `deep`"),
    ("shortcut = \"b\"", "shortcut = \"c\"", "unknown variant `c`"),
    ("mean = [0.5, 0.5, 0.5]", "mean = [0.5]", "`normalize`"),
    ("std = [0.25, 0.25, 0.25]", "std = [0.25, 0, 0.25]", "`normalize`"),
    ("crop_padding = 4", "crop_padding = 32", "crop_padding"),
    ("n_train = 96", "n_train = 0", "`n_train`"),
    ("trainings = [\"teacher\"]", "schedule = { kind = \"cos\" }", "unknown variant `cos`"),
];

#[test]
fn bad_settings_of_convolutional_networks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let suite = CNNS.replace("about = \"For tests.\"", "");
    settings_are_refused(at, &suite, &BAD_CNN_SETTINGS);
    fs::write(at.join("suite.toml"), &suite).unwrap();
    fs::write(at.join("weights"), "no weights").unwrap();
    for (teacher, model, code, words) in [
        ("no/weights", "resnet8", 66, "no/weights"),
        ("weights", "resnet8", 65, "weights"),
        ("weights", "resnet9", 78, "`resnet9` names no network"),
    ] {
        let teacher = ["--teacher", teacher, "--teacher-model", model];
        refused(&end(kd_run(at, "out").args(teacher)), code, words, words);
        assert!(!at.join("out").exists(), "{words}");
    }
}

#[test]
fn bad_flags_are_refused() {
    let folder = folder_of(MLPS);
    let at = folder.path();
    for (flags, words) in [
        (["--preset", "huge"], "`huge` is none of endless, killed, long, quick"),
        (["--seeds", "0"], "`seeds`"),
        (["--threads", "0"], "`threads`"),
        (["--device", "abacus"], "`abacus` is none of"),
        (["--holdout", "601"], "`holdout`"),
        (["--mean=0,0", "--std=1,1"], "`normalize`"),
    ] {
        refused(&end(kd_run(at, "out").args(flags)), 78, words, flags[0]);
        assert!(!at.join("out").exists(), "{flags:?} left a folder");
    }
    let train = |flags: [&str; 4]| end(kd(at).args(["train", "--out", "out"]).args(flags));
    refused(&train(["--model", "cnn", "--data", "mnist"]), 78, "`cnn`", "model");
    refused(&train(["--model", "mlp-8", "--data", "x"]), 78, "none of mnist", "data");
}

#[test]
fn missing_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let run = |suite: &str| end(kd(at).args(["run", suite, "--data-dir", "data", "--out", "out"]));
    refused(&run("no.toml"), 66, "no.toml: not found", "suite");
    fs::write(at.join("suite.toml"), MLPS).unwrap();
    refused(&run("suite.toml"), 66, "train-images-idx3-ubyte", "data");
    let weights = ["--model", "mlp-8", "--weights", "no/weights"];
    write_mnist(&at.join("data"), 20, 10);
    refused(&end(kd(at).arg("eval").args(weights)), 66, "no/weights: not found", "weights");
    refused(&end(kd(at).args(["report", "out"])), 66, "not found", "report");
    let teacher = ["train", "--model", "mlp-8", "--out", "out", "--teacher", "no/weights"];
    let teacher = end(kd(at).args(teacher).args(["--teacher-model", "mlp-9"]));
    refused(&teacher, 66, "no/weights", "teacher");
    assert!(!at.join("out").exists());
}

#[test]
fn damaged_data_are_refused() {
    let folder = folder_of(MLPS);
    let at = folder.path();
    let images = |change: &dyn Fn(&mut Vec<u8>)| changed(at, TRAIN_IMAGES, change);
    let labels = |content: &[u8]| changed(at, TRAIN_LABELS, &|bytes| *bytes = gzip(content));
    let raw = |content: &[u8]| changed(at, TRAIN_IMAGES, &|bytes| *bytes = content.to_vec());
    let cases = [
        ("cut", images(&|bytes| bytes.truncate(bytes.len() - 9)), "damaged gzip"),
        ("flipped", images(&|bytes| *bytes.last_mut().unwrap() ^= 1), "damaged gzip"),
        ("empty", raw(&[]), "cut off"),
        ("no magic", raw(b"\0\0\x09\x03\0\0\0\x01\0\0\0\x1c\0\0\0\x1c"), "at byte"),
        ("vast", raw(b"\0\0\x08\x03\xff\xff\xff\xff\0\0\0\x1c\0\0\0\x1c"), "at byte"),
        ("raw and cut", raw(b"\0\0\x08\x03\0\0\0\x01\0\0\0\x1c\0\0\0\x1c"), "cut off"),
        ("label 10", labels(&label_file(&[10; 20])), "label 10 of item 0"),
        ("19 labels", labels(&label_file(&[1; 19])), "19 labels for the 20 images"),
    ];
    for (what, folder, words) in cases {
        let data = ["--data-dir", folder.as_str()];
        let ended = end(kd(at).args(["run", "suite.toml", "--out", "out"]).args(data));
        refused(&ended, 65, words, what);
        assert!(!at.join("out").exists(), "{what} left a folder");
    }
}

/// Name of a new data folder below `at` with one file changed.
fn changed(at: &Path, name: &str, change: &dyn Fn(&mut Vec<u8>)) -> String {
    let folder = tempfile::Builder::new().prefix("data-").tempdir_in(at).unwrap().keep();
    write_mnist(&folder, 20, 10);
    let mut bytes = fs::read(folder.join(name)).unwrap();
    change(&mut bytes);
    fs::write(folder.join(name), bytes).unwrap();
    folder.to_str().unwrap().to_owned()
}

#[test]
fn what_cannot_be_written_to_is_named() {
    let folder = folder_of(MLPS);
    let at = folder.path();
    // Permissions would not stop root.
    fs::write(at.join("file"), "").unwrap();
    for out in ["file", "file/below"] {
        refused(&end(&mut kd_run(at, out)), 73, "cannot create", out);
    }
    fs::create_dir(at.join("other")).unwrap();
    fs::write(at.join("other/spec.toml"), "suite = \"other\"\n").unwrap();
    refused(&end(&mut kd_run(at, "other")), 78, "holds another run", "another spec");
    assert_eq!(fs::read_to_string(at.join("other/spec.toml")).unwrap(), "suite = \"other\"\n");
}

#[test]
fn damaged_and_unsuitable_weights_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_mnist(&at.join("data"), 50, 10);
    succeed(kd(at).args(["train", "--model", "mlp-8", "--epochs", "1", "--out", "run"]));
    let weights = at.join("run/checkpoints/mlp-8-seed0/student");
    let eval = |model: &str, weights: &Path| {
        end(kd(at).args(["eval", "--model", model, "--weights"]).arg(weights))
    };
    for model in ["mlp-9", "mlp-8-8"] {
        refused(&eval(model, &weights), 78, "leave out --model", model);
        let distill = ["train", "--model", "mlp-8", "--out", "out", "--teacher-model", model];
        let ended = end(kd(at).args(distill).arg("--teacher").arg(&weights));
        refused(&ended, 78, "leave out --model", model);
        assert!(!at.join("out").exists(), "an unsuitable teacher left a folder");
    }
    let args = ["eval", "--model", "mlp-8", "--mean", "0,0", "--std", "1,1", "--weights"];
    for file in [weights.clone(), weights.join("model.safetensors")] {
        refused(&end(kd(at).args(args).arg(&file)), 78, "`normalize`", "two channels");
    }
    refused(&eval("mlp-8", &at.join("run/spec.toml")), 65, "spec.toml", "not weights");

    for name in ["model.safetensors", "network.json"] {
        let good = fs::read(weights.join(name)).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(weights.join(name), bad).unwrap();
        refused(&eval("mlp-8", &weights), 65, "damaged", name);
        fs::write(weights.join(name), good).unwrap();
    }
    let metrics = at.join("run/metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, text.replacen("\"event\"", "event", 1)).unwrap();
    refused(&end(kd(at).args(["report", "run"])), 65, "at byte 0", "metrics");
}

#[test]
fn a_training_that_diverges_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_mnist(&at.join("data"), 400, 10);
    let flags = ["--optimizer", "sgd", "--learning-rate", "1e30", "--out", "out"];
    let ended = end(kd(at).args(["train", "--model", "mlp-8"]).args(flags));
    refused(&ended, 3, "lower the learning rate", "divergence");
    let left = files(&at.join("out"));
    let finished = |path: &&std::path::PathBuf| path.ends_with("student/model.safetensors");
    assert!(!left.keys().any(|path| finished(&path)), "{:?}", left.keys());
}
