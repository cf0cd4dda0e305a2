//! `cargo xtask ci`: everything that CI checks, the cheapest first.

use std::fs;
use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::failure::{Code, Failure, Result};
use crate::{kd, readme, reproduce, tidy};

/// Name and work of a step.
type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 11] = [
    ("fmt", fmt),
    ("tidy", tidy::run),
    ("readme", readme::check),
    ("clippy", clippy),
    ("cuda", cuda),
    ("test", test),
    ("candle", candle),
    ("engine", engine),
    ("mpi", mpi),
    ("doc", doc),
    ("smoke", smoke),
];

/// Arguments of `ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave this step out; may be repeated
    #[arg(long, value_name = "STEP", value_parser = STEPS.map(|(name, _)| name))]
    skip: Vec<String>,
}

/// Runs the steps until one fails, and prints how long each took.
///
/// # Errors
/// [`Code::Internal`], naming the step that failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    for (name, step) in STEPS {
        if args.skip.iter().any(|skipped| skipped == name) {
            println!("{name:<8} skipped");
            continue;
        }
        eprintln!("== {name}");
        let start = Instant::now();
        if let Err(failure) = step() {
            failure.print();
            return Err(Failure::new(Code::Internal, format_args!("step {name} failed")));
        }
        println!("{name:<8} ok {:7.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn fmt() -> Result<()> {
    cargo(kd::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let mut cargo_clippy = kd::cargo();
    cargo_clippy.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    cargo(&mut cargo_clippy)
}

/// Only looked at: this needs no GPU and nothing of NVIDIA's.
fn cuda() -> Result<()> {
    let packages = ["kd-core", "kd-data", "kd-models", "kd-train", "kd-suite", "kd-cli"];
    let mut clippy = kd::cuda();
    clippy.arg("clippy").args(packages.map(|name| ["-p", name]).concat());
    clippy.args(["--all-targets", "--features", "cuda", "--", "-D", "warnings"]);
    cargo(&mut clippy)
}

fn test() -> Result<()> {
    cargo(kd::cargo().args(["test", "--workspace"]))
}

/// The feature that the workspace leaves out, for its many libraries; none of them is optimized.
fn candle() -> Result<()> {
    let mut test = kd::cargo();
    test.args(["test", "--profile", "xtask", "-p", "kd-data", "--features", "candle-datasets"]);
    cargo(test.arg("candle"))
}

/// What we export in another engine, which the workspace leaves out for its size.
fn engine() -> Result<()> {
    let mut test = kd::cargo();
    test.args(["test", "--profile", "xtask", "-p", "kd-tests", "--features", "second-engine"]);
    cargo(test.args(["--test", "second_engine"]))
}

/// One training on several processes, where there is an MPI.
fn mpi() -> Result<()> {
    let there = Command::new("mpirun").arg("--version").stdout(Stdio::null()).status();
    if there.is_err() {
        eprintln!(
            "passed over: there is no mpirun (Debian: openmpi-bin libopenmpi-dev libclang-dev)"
        );
        return Ok(());
    }
    let features = ["--workspace", "--features", "kd-cli/mpi,kd-tests/mpi"];
    let mut clippy = kd::cargo();
    clippy.arg("clippy").args(features);
    cargo(clippy.args(["--all-targets", "--", "-D", "warnings"]))?;
    cargo(kd::cargo().arg("test").args(features).args(["--test", "it", "mpi::"]))
}

fn doc() -> Result<()> {
    cargo(kd::cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// From nothing: what an earlier run left would not be run again.
fn smoke() -> Result<()> {
    let out = kd::root().join("target/ci-smoke");
    match fs::remove_dir_all(&out) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Failure::io(&out, "remove")(error));
        }
        _ => {}
    }
    let smoke = |suite| reproduce::run(&reproduce::Args::smoke(suite, out.join(suite)));
    let suites = ["mnist", "hinton", "readings", "cifar10", "imagenet", "defensive", "referee"];
    suites.into_iter().try_for_each(smoke)
}

/// stdout carries only our own table.
fn cargo(command: &mut Command) -> Result<()> {
    command.stdout(Stdio::from(std::io::stderr()));
    let status = command.status().map_err(Failure::start("cargo".as_ref()))?;
    Failure::from_status(status)
}
