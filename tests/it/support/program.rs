//! The program `kd`, as a user starts it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::timeless_metrics;

/// Built once, in the profile and target folder of these tests: cargo names the path of a
/// program to the tests of its own package only. With the features that `cargo test --workspace`
/// has given the dependencies, which it does for a test: none of them is compiled again.
static KD: LazyLock<PathBuf> = LazyLock::new(|| {
    // target/PROFILE/deps/it-HASH
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let name = match profile.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        name => name,
    };
    let features =
        if cfg!(feature = "mpi") { &["--features", "kd-cli/mpi,kd-tests/mpi"][..] } else { &[] };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--bin", "kd", "--test", "it"])
        .args(features)
        .args(["--profile", name, "--target-dir"])
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "kd does not build");
    profile.join(format!("kd{}", std::env::consts::EXE_SUFFIX))
});

/// The program, in the folder `at`, without a data folder.
pub(crate) fn kd(at: &Path) -> Command {
    let mut command = Command::new(&*KD);
    command.current_dir(at).env_remove("KD_DATA_DIR").env("RUST_BACKTRACE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `kd run suite.toml --synthetic --out OUT` in the folder `at`.
pub(crate) fn kd_run(at: &Path, out: &str) -> Command {
    let mut command = kd(at);
    command.args(["run", "suite.toml", "--synthetic", "--out", out]);
    command
}

/// Each of `cases`, `(good, bad, words)`, written into `suite` in place of what is good, is refused
/// with these words before anything is written.
pub(crate) fn settings_are_refused(at: &Path, suite: &str, cases: &[(&str, &str, &str)]) {
    for (good, bad, words) in cases {
        assert!(suite.contains(good), "{good}");
        std::fs::write(at.join("suite.toml"), suite.replacen(good, bad, 1)).unwrap();
        refused(&end(&mut kd_run(at, "out")), 78, words, &format!("{good} -> {bad}"));
        assert!(!at.join("out").exists(), "{bad} left a folder");
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code, unless a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs to the end.
pub(crate) fn end(command: &mut Command) -> Ended {
    command.output().unwrap().into()
}

/// Runs to the end, which must be a good one.
pub(crate) fn succeed(command: &mut Command) -> Ended {
    let ended = end(command);
    assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.stderr);
    ended
}

/// What it prints with `--json`, after a good end.
pub(crate) fn json(command: &mut Command) -> Value {
    serde_json::from_str(&succeed(command.arg("--json")).stdout).unwrap()
}

/// A process in the background; killed when a test fails before its end.
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Waits until `reached`, while the process lives.
    pub(crate) fn wait_until(&mut self, reached: impl Fn() -> bool) {
        while !reached() {
            let ended = self.0.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it ended before: {ended:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends SIGKILL after `delay`; false when the process ended by itself before.
    pub(crate) fn kill_after(mut self, delay: Duration) -> bool {
        let mut child = self.0.take().unwrap();
        let started = Instant::now();
        while started.elapsed() < delay {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        true
    }

    /// Waits for the end.
    #[cfg(feature = "mpi")]
    pub(crate) fn wait(mut self) -> Ended {
        self.0.take().unwrap().wait_with_output().unwrap().into()
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(mut self) -> Ended {
        let kill = format!("kill -TERM {}", self.pid());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.0.take().unwrap().wait_with_output().unwrap().into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// All files below `folder` but leases, in which processes are counted, by path relative to it.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let name = path.strip_prefix(folder).unwrap().to_owned();
            if !name.file_name().unwrap().to_string_lossy().starts_with(".lease-") {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// What must be the same of two runs: the names of all files, the bytes of spec and checkpoints,
/// and the metrics without what the clock says.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) metrics: Vec<Value>,
}

impl Results {
    /// Of the run in `folder`.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut files = files(folder);
        for (name, bytes) in &mut files {
            if name != Path::new("spec.toml") && !name.starts_with("checkpoints") {
                bytes.clear();
            }
        }
        Self { files, metrics: timeless_metrics(&folder.join("metrics.jsonl")) }
    }

    /// Names the first difference.
    pub(crate) fn assert_same(&self, other: &Self) {
        let names = |results: &Self| results.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(other));
        for (name, bytes) in &self.files {
            assert!(*bytes == other.files[name], "{} differs", name.display());
        }
        assert_eq!(self.metrics.len(), other.metrics.len());
        for (one, two) in self.metrics.iter().zip(&other.metrics) {
            assert_eq!(one, two);
        }
    }
}

/// The records of this kind of the run in `out`, without what the clock says.
pub(crate) fn records(out: &Path, event: &str) -> Vec<Value> {
    let metrics = timeless_metrics(&out.join("metrics.jsonl"));
    metrics.into_iter().filter(|record| record["event"] == event).collect()
}

/// Those of the models at the end of their trainings.
pub(crate) fn finals(out: &Path) -> Vec<Value> {
    records(out, "final")
}

/// Checks that the program refused its input: this exit code, and one line that says `words`.
pub(crate) fn refused(ended: &Ended, code: i32, words: &str, what: &str) {
    let Ended { stdout, stderr, .. } = ended;
    assert_eq!(ended.code, Some(code), "{what}: {stderr}");
    assert!(stdout.is_empty() && !stderr.contains("panicked"), "{what}: {stdout}{stderr}");
    let said: Vec<&str> = stderr.lines().filter(|line| !line.starts_with("SYNTHETIC")).collect();
    let [line] = said[..] else { panic!("{what}: not one line: {stderr}") };
    assert!(line.starts_with("kd: ") && line.contains(words), "{what}: {line}");
}
