//! `kd data imagenet`: made-up validation images into class folders and back, by the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kd_core::Stream;
use kd_data::imagenet::labels::{Kind, Shape};
use kd_data::testing::{archive, flat, labels, train_archive, write_labels};

use crate::support::{Running, end, files, json, kd, refused, succeed};

const MODES: [&str; 5] = ["move", "hardlink", "symlink", "copy", "extract"];
const ARCHIVE: &str = "ILSVRC2012_img_val.tar";
const TRAIN: &str = "ILSVRC2012_img_train.tar";

/// The images, unsorted and in an archive, and all sources of their labels.
fn prepare(at: &Path, shape: Shape) {
    flat(shape, &at.join("flat")).unwrap();
    archive(shape, &at.join(ARCHIVE)).unwrap();
    let wnids = labels(shape, 0).unwrap();
    for kind in Kind::ALL {
        write_labels(&wnids, kind, &at.join(kind.file_name())).unwrap();
    }
    let counts = wnids.values().map(|&wnid| (wnid, 3)).collect();
    train_archive(&counts, &at.join(TRAIN)).unwrap();
}

fn imagenet(at: &Path, shape: Shape) -> Command {
    let mut command = kd(at);
    command.args(["data", "imagenet", "--out", "root"]);
    command.args(["--classes", &shape.n_classes.to_string()]);
    command.args(["--per-class", &shape.n_per_class.to_string()]);
    command
}

fn organize(at: &Path, shape: Shape, kind: Kind, mode: &str) -> Command {
    let mut command = imagenet(at, shape);
    let images = if mode == "extract" { ARCHIVE } else { "flat" };
    command.args(["--labels", kind.file_name(), "--images", images, "--mode", mode]);
    command
}

/// The files of a finished tree without its journal.
fn tree(at: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = files(&at.join("root/val"));
    assert!(files.remove(Path::new(".kd-imagenet.json")).is_some());
    files
}

#[test]
fn the_program_sorts_checks_and_takes_back() {
    const SHAPE: Shape = Shape { n_classes: 3, n_per_class: 4 };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    prepare(at, SHAPE);
    let whole = files(at);
    let all = || {
        let mut all = organize(at, SHAPE, Kind::DevkitArchive, "extract");
        json(all.args(["--labels", "valprep.sh", "--train", TRAIN]))
    };
    let made = all();
    assert_eq!(
        (&made["images"], &made["classes"], &made["changed"]),
        (&12.into(), &3.into(), &12.into())
    );
    assert_eq!((&made["mode"], &made["train"]["images"]), (&"extract".into(), &9.into()));
    let again = all();
    assert_eq!((&again["changed"], &again["train"]["changed"]), (&0.into(), &0.into()));
    let verdict = json(imagenet(at, SHAPE).arg("--verify"));
    assert_eq!((&verdict["images"], verdict["faults"].as_array().unwrap().len()), (&12.into(), 0));
    let image = tree(at).into_keys().next().unwrap();
    fs::write(at.join("root/val").join(image), "").unwrap();
    let ended = end(imagenet(at, SHAPE).args(["--verify", "--json"]));
    assert!(ended.code == Some(65) && ended.stdout.contains("\"corrupt\""), "{ended:?}");
    assert_eq!(json(imagenet(at, SHAPE).arg("--undo"))["changed"], 12);
    fs::remove_dir_all(at.join("root")).unwrap();
    assert!(files(at) == whole);

    let mut hardlink = organize(at, SHAPE, Kind::Valprep, "hardlink");
    assert_eq!(json(hardlink.arg("--dry-run"))["changed"], 12);
    fs::remove_file(at.join("flat/ILSVRC2012_val_00000003.JPEG")).unwrap();
    let hardlink = end(&mut organize(at, SHAPE, Kind::Valprep, "hardlink"));
    refused(&hardlink, 65, "1 missing (ILSVRC2012_val_00000003.JPEG)", "missing image");
    let extract = end(imagenet(at, SHAPE).args(["--mode", "extract", "--images", "flat"]));
    assert_eq!(extract.code, Some(2), "no labels");
    let labels = ["--labels", "valprep.sh", "--images", "flat", "--mode", "extract"];
    refused(&end(imagenet(at, SHAPE).args(labels)), 78, "`mode`: a folder's images", "mode");
    assert!(!at.join("root").exists());
}

/// With `KD_SLOW_TESTS` in the environment on all of ImageNet's numbers, with 100 kills.
#[test]
fn a_killed_work_is_finished_by_the_next_call() {
    let is_slow = std::env::var_os("KD_SLOW_TESTS").is_some();
    let small = Shape { n_classes: 20, n_per_class: 10 };
    let (shape, n_kills) = if is_slow { (Shape::default(), 100) } else { (small, 5) };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    prepare(at, shape);
    let flat = files(&at.join("flat"));
    let mut spans = Vec::new();
    let mut right = BTreeMap::new();
    for (i, mode) in MODES.into_iter().enumerate() {
        let kinds = if is_slow { &Kind::ALL[..] } else { &Kind::ALL[i..=i] };
        for &kind in kinds {
            // The first of all commands builds the program.
            let mut command = organize(at, shape, kind, mode);
            let started = Instant::now();
            succeed(&mut command);
            let span = started.elapsed();
            println!("{} images, {mode}, {kind}: {:.1} s", shape.n_images(), span.as_secs_f64());
            let found = tree(at);
            assert!(right.is_empty() || found == right, "{mode}: another tree");
            right = found;
            succeed(imagenet(at, shape).arg("--undo"));
            assert!(files(&at.join("flat")) == flat, "{mode}");
            spans.push((mode, kind, span));
        }
    }
    let mut rng = Stream::new(5).rng();
    let mut n_killed = 0;
    for i in 0..n_kills {
        let (mode, kind, span) = spans[i % spans.len()];
        let work = Running::start(&mut organize(at, shape, kind, mode));
        let delay = Duration::from_secs_f64(span.as_secs_f64() * f64::from(rng.uniform()));
        n_killed += usize::from(work.kill_after(delay));
        let done = json(&mut organize(at, shape, kind, mode));
        assert_eq!(done["images"], shape.n_images());
        assert!(tree(at) == right, "{mode}: another tree after a kill");
        assert_eq!(json(&mut organize(at, shape, kind, mode))["changed"], 0);
        succeed(imagenet(at, shape).arg("--undo"));
        assert!(files(&at.join("flat")) == flat, "{mode}: images lost");
    }
    println!("{n_killed} of {n_kills} were killed before their end");
}
