//! A teacher's soft targets in a file, and learning curves, through the program.

use std::fs;
use std::path::Path;

use crate::support::{MLPS, finals, kd_run, records, settings_are_refused, succeed};

const TEACHER: &str = "teacher = \"teacher\"\n";

/// The suite of two trainings, with `setting` for the students of the teacher.
fn suite(setting: &str) -> String {
    let end = MLPS.find("[[training]]\nname = \"omit3\"").unwrap();
    MLPS[..end].replace(TEACHER, &format!("{TEACHER}{setting}\n"))
}

fn run(at: &Path, out: &str, suite: &str) {
    fs::write(at.join("suite.toml"), suite).unwrap();
    succeed(&mut kd_run(at, out));
}

#[test]
fn a_second_run_reads_what_the_first_ones_teacher_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    run(at, "plain", &suite(""));
    for out in ["first", "second"] {
        run(at, out, &suite("soft_targets = { top_k = 10 }"));
        assert_eq!(finals(&at.join(out)), finals(&at.join("plain")), "all classes are kept");
    }
    let saved = |out| records(&at.join(out), "soft_targets").remove(0);
    let (first, second) = (saved("first"), saved("second"));
    // Four epochs of 500 images, in 9 versions.
    assert_eq!((&first["asked"], &second["asked"]), (&2000.into(), &2000.into()));
    let computed = first["computed"].as_u64().unwrap();
    assert!((1500..2000).contains(&computed), "{computed}");
    assert_eq!(second["computed"], 0);
    assert_eq!(first["bytes"], 500 * 9 * (8 + 6 * 10));
    assert_eq!(fs::read_dir(at.join("soft-targets")).unwrap().count(), 1);
    run(at, "third", &suite("soft_targets = { top_k = 3 }"));
    assert_eq!(saved("third")["computed"], first["computed"]);
    assert_eq!(fs::read_dir(at.join("soft-targets")).unwrap().count(), 2);
    assert!(finals(&at.join("third")) != finals(&at.join("plain")));
}

#[test]
fn soft_targets_that_cannot_be_kept_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let suite = suite("soft_targets = { top_k = 10 }");
    let teacher = "[[training]]\nname = \"teacher\"";
    let cases = [
        ("top_k = 10", "top_k = 11", "between 1 and the 10 classes"),
        ("crop_padding = 1", "elastic = { }", "n_views"),
        (teacher, &format!("{teacher}\nsoft_targets = {{ top_k = 1 }}"), "has no teacher"),
    ];
    settings_are_refused(folder.path(), &suite, &cases);
}

#[test]
fn a_curve_has_points_within_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    run(at, "out", &suite("").replace("[plan]\n", "[plan]\neval_every_steps = 6\n"));
    let curve = records(&at.join("out"), "curve");
    let of = |model: &str| -> Vec<_> {
        let points = curve.iter().filter(|point| point["model"] == model);
        points.map(|point| point["step"].as_u64().unwrap()).collect()
    };
    // Four epochs of ten steps, each counted anew.
    assert_eq!(of("alpha0.5-t4.5"), [6, 10, 16, 20, 26, 30, 36, 40]);
    let last = curve.iter().rfind(|point| point["model"] == "teacher").unwrap();
    assert_eq!(last["epoch"], 4.0);
    assert_eq!(last["n_train"], 200);
    assert_eq!(last["test_top1"], finals(&at.join("out"))[0]["last"]["top1"]);
    assert_eq!(last["test_top5"], finals(&at.join("out"))[0]["last"]["top5"]);
}
