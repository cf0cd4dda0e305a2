//! One training on several processes, which `mpirun` starts. Behind a cargo feature, since it needs MPI:
//! `cargo xtask ci` runs it where there is one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Ended, Results, Running, end, kd, records, succeed, write_mnist};

/// Flags of the trainings: an MLP with dropout, and a network with batch norm.
const NETWORKS: [&[&str]; 2] =
    [&["--model", "mlp-40-30", "--dropout", "0.2"], &["--model", "resnet8"]];

/// A folder with 300 images to learn from.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_mnist(&folder.path().join("data/mnist"), 300, 60);
    folder
}

/// `kd train` of a network into `out`.
fn train(command: &mut Command, network: &[&str], epochs: &str, out: &str) {
    command.args(["train", "--shards", "4", "--batch-size", "32", "--threads", "1"]);
    command.args(network).args(["--epochs", epochs, "--out", out]);
}

/// On one process, without `mpirun`.
fn alone(at: &Path, network: &[&str], epochs: &str, out: &str) -> Command {
    let mut command = kd(at);
    train(&mut command, network, epochs, out);
    command
}

/// On several.
fn together(at: &Path, n: usize, network: &[&str], epochs: &str, out: &str) -> Command {
    let kd = kd(at);
    let mut command = Command::new("mpirun");
    command.args(["-n", &n.to_string(), "--oversubscribe", "--bind-to", "none"]);
    command.arg(kd.get_program()).current_dir(at).env_remove("KD_DATA_DIR");
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    train(&mut command, network, epochs, out);
    command
}

/// The process of `rank` among those that `mpirun` has started.
fn process(mpirun: u32, rank: usize) -> u32 {
    let is = |pid: u32| {
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        let variable = format!("OMPI_COMM_WORLD_RANK={rank}");
        status.contains(&format!("PPid:\t{mpirun}\n"))
            && read("environ").split(|byte| *byte == 0).any(|line| line == variable.as_bytes())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| is(*pid)).unwrap()
}

fn send(signal: &str, pid: u32) {
    let kill = format!("kill -{signal} {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

fn metrics(at: &Path, out: &str) -> PathBuf {
    at.join(out).join("metrics.jsonl")
}

/// A training that sends `signal` to `rank` after its first epoch; how it ended, and how long that took
/// all processes.
fn interrupted(at: &Path, n: usize, rank: usize, signal: &str, out: &str) -> (Ended, Duration) {
    let mut running = Running::start(&mut together(at, n, NETWORKS[1], "30", out));
    let log = metrics(at, out);
    let has_epoch = || fs::read_to_string(&log).is_ok_and(|text| text.contains("\"epoch\":1,"));
    running.wait_until(has_epoch);
    let processes: Vec<u32> = (0..n).map(|rank| process(running.pid(), rank)).collect();
    let started = Instant::now();
    send(signal, processes[rank]);
    let ended = running.wait();
    // `mpirun` may end before those that it has killed.
    while processes.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
        assert!(started.elapsed() < Duration::from_secs(30), "{signal}: some still run");
        std::thread::sleep(Duration::from_millis(10));
    }
    (ended, started.elapsed())
}

/// The results in `out`, but for what other processes would not write.
fn results(at: &Path, out: &str) -> Results {
    Results::of(&at.join(out))
}

#[test]
fn any_number_of_processes_learns_the_same() {
    let folder = folder();
    let at = folder.path();
    for (i, network) in NETWORKS.into_iter().enumerate() {
        let out = |n: usize| format!("{i}-{n}");
        succeed(&mut alone(at, network, "2", &out(0)));
        for n in [1, 2, 4] {
            let ended = succeed(&mut together(at, n, network, "2", &out(n)));
            results(at, &out(n)).assert_same(&results(at, &out(0)));
            // The first one speaks for all.
            assert_eq!(ended.stdout.matches("report: ").count(), 1, "{}", ended.stdout);
        }
        assert_eq!(records(&at.join(out(4)), "epoch").len(), 2);
    }
}

#[test]
fn a_signal_to_any_process_stops_all_and_another_number_goes_on() {
    let folder = folder();
    let at = folder.path();
    succeed(&mut alone(at, NETWORKS[1], "30", "whole"));
    let (ended, _) = interrupted(at, 4, 2, "TERM", "run");
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    let ended = succeed(&mut together(at, 2, NETWORKS[1], "30", "run"));
    assert!(ended.stderr.contains("goes on after epoch"), "{}", ended.stderr);
    results(at, "run").assert_same(&results(at, "whole"));
}

#[test]
fn a_process_that_dies_or_falls_silent_ends_the_others() {
    let folder = folder();
    let at = folder.path();
    succeed(&mut alone(at, NETWORKS[1], "30", "whole"));
    for (signal, said) in [("KILL", "signal 9"), ("STOP", "rank 1 has not been heard of")] {
        let (ended, time) = interrupted(at, 4, 1, signal, signal);
        assert!(time < Duration::from_secs(30), "{signal}: {time:?}");
        assert!(ended.code != Some(0) && ended.stderr.contains(said), "{signal}: {ended:?}");
        succeed(&mut alone(at, NETWORKS[1], "30", signal));
        results(at, signal).assert_same(&results(at, "whole"));
    }
}

#[test]
fn what_cannot_be_shared_is_refused_once() {
    let folder = folder();
    let at = folder.path();
    let ended = end(&mut together(at, 3, NETWORKS[0], "1", "out"));
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("4 shards of a batch").count(), 1, "{}", ended.stderr);
    assert!(!at.join("out").exists());
}
