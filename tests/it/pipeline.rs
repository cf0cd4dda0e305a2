//! A suite through the program, from its file to its report: repeated, interrupted, killed.

use std::fs;
use std::path::Path;
use std::time::Instant;

use kd_core::Stream;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    CNNS, METHODS, MLPS, Results, Running, end, finals, folder_of, kd_run, records, refused,
    succeed,
};

/// A folder with the tiny suite of MLPs.
fn folder() -> TempDir {
    folder_of(MLPS)
}

#[test]
fn a_run_repeated_gives_the_same_results_and_a_finished_one_is_not_run_again() {
    let folder = folder();
    let at = folder.path();
    succeed(&mut kd_run(at, "one"));
    succeed(&mut kd_run(at, "two"));
    let results = Results::of(&at.join("one"));
    Results::of(&at.join("two")).assert_same(&results);

    let written = fs::read(at.join("one/metrics.jsonl")).unwrap();
    let again = succeed(&mut kd_run(at, "one"));
    assert!(again.stderr.contains("finished before"), "{}", again.stderr);
    assert_eq!(fs::read(at.join("one/metrics.jsonl")).unwrap(), written);
    Results::of(&at.join("one")).assert_same(&results);
}

#[test]
fn a_run_goes_on_with_more_seeds() {
    let folder = folder();
    let at = folder.path();
    succeed(&mut kd_run(at, "grown"));
    let two = |out: &str| succeed(kd_run(at, out).args(["--seeds", "2"]));
    assert!(!two("grown").stderr.contains("finished before"));
    two("whole");
    let results = |out: &str| {
        let mut results = Results::of(&at.join(out));
        // What it ran on is said again, and that it was done.
        results.metrics.retain(|record| record["event"] != "run" && record["event"] != "done");
        results
    };
    results("grown").assert_same(&results("whole"));
    assert_eq!(records(&at.join("grown"), "run").len(), 2);
    // What had not come to its end does so first.
    succeed(&mut kd_run(at, "begun"));
    let metrics = at.join("begun/metrics.jsonl");
    let lines = fs::read_to_string(&metrics).unwrap();
    let done = lines.trim_end().rfind('\n').unwrap();
    fs::write(&metrics, &lines[..=done]).unwrap();
    two("begun");
    results("begun").assert_same(&results("whole"));
    assert!(two("grown").stderr.contains("finished before"));
    let fewer = end(&mut kd_run(at, "grown"));
    refused(&fewer, 78, "`seeds` is 2 there and 1 here", "fewer seeds");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for suite in [MLPS, CNNS] {
        let folder = folder_of(suite);
        let at = folder.path();
        let with_threads = |n: &str| {
            succeed(kd_run(at, n).args(["--threads", n]));
            let mut results = Results::of(&at.join(n));
            // The first line says how many threads there were.
            assert_eq!(results.metrics.remove(0)["threads"].to_string(), n);
            results
        };
        with_threads("1").assert_same(&with_threads("2"));
    }
}

#[test]
fn a_network_learns_and_its_report_says_so() {
    let folder = folder();
    let ended = succeed(kd_run(folder.path(), "out").arg("--json"));
    assert!(ended.stderr.contains("SYNTHETIC"), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["synthetic"], true);
    let written = fs::read_to_string(folder.path().join("out/report.json")).unwrap();
    assert_eq!(report, serde_json::from_str::<Value>(&written).unwrap());
    let teacher = finals(&folder.path().join("out")).remove(0);
    let top1 = teacher["last"]["top1"].as_f64().unwrap();
    assert!(top1 > 0.5, "the teacher has {top1} right");
    for file in ["report.html", "report.md"] {
        assert!(
            fs::read_to_string(folder.path().join("out").join(file)).unwrap().contains("SYNTHETIC")
        );
    }
}

/// Killed at random moments and started again; when it is done, once more from the beginning.
#[test]
fn a_run_killed_at_random_moments_ends_with_the_same_results() {
    let n_kills = if std::env::var_os("KD_SLOW_TESTS").is_some() { 20 } else { 6 };
    kill_at_random_moments(MLPS, n_kills);
    kill_at_random_moments(CNNS, n_kills / 2);
    kill_at_random_moments(METHODS, n_kills / 2);
}

fn kill_at_random_moments(suite: &str, n_kills: usize) {
    let folder = folder_of(suite);
    let at = folder.path();
    let run = |out| {
        let mut command = kd_run(at, out);
        command.args(["--preset", "killed"]);
        command
    };
    let started = Instant::now();
    succeed(&mut run("whole"));
    let (duration, whole) = (started.elapsed(), Results::of(&at.join("whole")));
    let mut rng = Stream::new(2015).rng();
    let (mut n_killed, mut n_finished) = (0, 0);
    while n_killed < n_kills {
        let moment = duration.mul_f32(rng.uniform());
        if Running::start(&mut run("killed")).kill_after(moment) {
            n_killed += 1;
        } else {
            n_finished += 1;
            Results::of(&at.join("killed")).assert_same(&whole);
            fs::remove_dir_all(at.join("killed")).unwrap();
        }
    }
    println!("killed {n_killed} times, finished {} times, {duration:?} a run", n_finished + 1);
    succeed(&mut run("killed"));
    Results::of(&at.join("killed")).assert_same(&whole);
}

#[test]
fn what_a_killed_process_was_writing_and_removing_is_swept_away() {
    let folder = folder();
    let out = folder.path().join("out");
    succeed(&mut kd_run(folder.path(), "out"));
    let whole = Results::of(&out);
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let done = metrics.trim_end().rfind('\n').unwrap();
    fs::write(out.join("metrics.jsonl"), &metrics[..done + 5]).unwrap();
    let checkpoints = out.join("checkpoints");
    for name in
        ["omit3-seed0-state", ".saving-a", "student-seed0/.saving-b", "omit3-seed0-state.old"]
    {
        fs::create_dir(checkpoints.join(name)).unwrap();
        fs::write(checkpoints.join(name).join("manifest.json"), "{}").unwrap();
    }
    fs::write(out.join(".tmpabc"), "half a report").unwrap();
    succeed(&mut kd_run(folder.path(), "out"));
    Results::of(&out).assert_same(&whole);
}

#[test]
fn a_terminated_run_says_that_it_can_be_resumed_and_keeps_others_out_before() {
    let folder = folder();
    let at = folder.path();
    let long = |out| {
        let mut command = kd_run(at, out);
        command.args(["--preset", "long"]);
        command
    };
    let mut first = Running::start(&mut long("stopped"));
    let metrics = at.join("stopped/metrics.jsonl");
    let n_lines = || fs::read_to_string(&metrics).unwrap_or_default().lines().count();
    first.wait_until(|| n_lines() >= 3);

    let second = end(&mut long("stopped"));
    assert_eq!(second.code, Some(73), "{}", second.stderr);
    let pid = format!("in use by process {}", first.pid());
    assert!(second.stderr.contains(&pid), "{}", second.stderr);

    let stopped = first.terminate();
    assert_eq!(stopped.code, Some(75), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("the same command goes on from here"), "{}", stopped.stderr);
    let state = at.join("stopped/checkpoints/teacher-seed0-state/state.json");
    let state: Value = serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
    assert_eq!(state["epoch"], n_lines() - 1, "one line an epoch after the first line");
    assert!(n_lines() < 400, "it went on to its end");

    succeed(&mut long("stopped"));
    succeed(&mut long("whole"));
    Results::of(&at.join("stopped")).assert_same(&Results::of(&at.join("whole")));
}

#[test]
fn a_long_run_says_how_long_it_will_take() {
    let folder = folder();
    let mut run = Running::start(kd_run(folder.path(), "out").args(["--preset", "endless"]));
    let metrics = folder.path().join("out/metrics.jsonl");
    run.wait_until(|| fs::read_to_string(&metrics).unwrap_or_default().lines().count() >= 2);
    let stderr = run.terminate().stderr;
    assert!(stderr.contains("tiny: about ") && stderr.contains(" on this machine"), "{stderr}");
    let short = succeed(&mut kd_run(folder.path(), "short"));
    assert!(!short.stderr.contains("on this machine"), "{}", short.stderr);
}

/// What stands in a run's spec, as TOML.
fn spec(out: &Path) -> toml::Table {
    toml::from_str(&fs::read_to_string(out.join("spec.toml")).unwrap()).unwrap()
}

#[test]
fn a_teacher_from_a_file_takes_the_place_of_the_one_that_would_be_trained() {
    let folder = folder_of(CNNS);
    let at = folder.path();
    let first = succeed(&mut kd_run(at, "trained"));
    assert!(first.stderr.contains("tiny-cnn quick: For tests."), "{}", first.stderr);
    let weights = "trained/checkpoints/teacher-seed0/teacher";
    succeed(kd_run(at, "given").args(["--teacher", weights]));

    let students = |out: &str| {
        let finals = finals(&at.join(out)).into_iter();
        finals.filter(|last| last["training"] == "student").collect::<Vec<_>>()
    };
    assert_eq!(students("given"), students("trained"), "the same teacher teaches the same");
    assert_eq!(finals(&at.join("given")).len(), 2, "it was not trained again");
    let spec = spec(&at.join("given"));
    let teacher = &spec["training"][0]["teacher"]["weights"];
    assert_eq!(teacher["path"].as_str(), Some(weights));
    assert_eq!(teacher["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(teacher["network"].as_str(), Some("resnet8"));
    assert_eq!(spec["normalize"]["mean"][2].as_float(), Some(0.5));
}
