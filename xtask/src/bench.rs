//! `cargo xtask bench`: kd's speed, and the same work in PyTorch.
//!
//! Key decision: with `--peer` the two take turns, round by round, so that a machine that slows
//! down slows both; what counts is the ratio within a round.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::failure::{Code, Failure, Result};
use crate::kd;

/// A piece of work that both sides know by this name.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    /// The most that kd's time may be of PyTorch's.
    target: Option<f64>,
}

const CASES: [Case; 4] = [
    Case { name: "teacher-step", target: Some(0.85) },
    Case { name: "student30-step", target: Some(0.7) },
    Case { name: "student300-step", target: None },
    Case { name: "grid30-epoch", target: Some(0.25) },
];

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure PyTorch too, in turns, and print ratios
    #[arg(long)]
    peer: bool,
    /// A Python that has torch
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Only this case; may be repeated
    #[arg(long = "case", value_name = "NAME", value_parser = CASES.map(|case| case.name))]
    cases: Vec<String>,
    /// Rounds of each case
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// What one side prints of one case; times in milliseconds. More fields may follow.
#[derive(Debug, Deserialize)]
struct Measurement {
    case: String,
    median_ms: f64,
}

/// Measures and prints a table.
///
/// # Errors
/// [`Code::MissingInput`] when `--python` has no torch, the exit code of the side that fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.peer {
        require_torch(&args.python)?;
    }
    let program = PathBuf::from(kd::build()?.get_program());
    println!("{}", header(args.peer));
    for case in CASES.iter().filter(|case| args.has(case.name)) {
        let mut rounds = Vec::new();
        for i in 0..args.rounds {
            eprintln!("{}: round {} of {}", case.name, i + 1, args.rounds);
            rounds.push(round(args, &program, case.name, i)?);
        }
        println!("{}", row(case, &rounds));
    }
    Ok(())
}

impl Args {
    fn has(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case)
    }
}

fn require_torch(python: &Path) -> Result<()> {
    let mut command = Command::new(python);
    command.args(["-c", "import torch"]).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let line =
        format!("{}: cannot import torch; name a Python that can: --python PATH", python.display());
    Err(Failure::new(Code::MissingInput, line))
}

/// Milliseconds of kd and, with `--peer`, of PyTorch; who begins changes with each round.
fn round(args: &Args, kd: &Path, case: &str, i: u32) -> Result<(f64, Option<f64>)> {
    let kd = || measure(Command::new(kd).arg("bench"), case);
    let script = kd::root().join("xtask/peer/peer.py");
    let peer = || measure(Command::new(&args.python).arg(&script), case);
    Ok(match (args.peer, i % 2) {
        (false, _) => (kd()?, None),
        (true, 0) => (kd()?, Some(peer()?)),
        (true, _) => {
            let peer = peer()?;
            (kd()?, Some(peer))
        }
    })
}

/// Median milliseconds that `command` prints for `case`.
fn measure(command: &mut Command, case: &str) -> Result<f64> {
    let program = PathBuf::from(command.get_program());
    command.args(["--case", case, "--json"]).current_dir(kd::root()).stderr(Stdio::inherit());
    let output = command.output().map_err(Failure::start(&program))?;
    Failure::from_status(output.status)?;
    let fault = |reason: &str| {
        let line = format!("{}: `{case}`: {reason}", program.display());
        Failure::new(Code::Internal, line)
    };
    let measurement: Measurement =
        serde_json::from_slice(&output.stdout).map_err(|e| fault(&e.to_string()))?;
    if measurement.case != case || measurement.median_ms.is_nan() || measurement.median_ms <= 0.0 {
        return Err(fault("its output is no measurement of this case"));
    }
    Ok(measurement.median_ms)
}

fn header(peer: bool) -> String {
    let kd = format!("{:<16} {:>12}", "case", "kd ms");
    if !peer {
        return kd;
    }
    format!("{kd} {:>12} {:>8} {:>15} {:>8}", "PyTorch ms", "ratio", "range", "target")
}

/// Medians over the rounds; the ratio is the median of the rounds' ratios.
fn row(case: &Case, rounds: &[(f64, Option<f64>)]) -> String {
    let kd = sorted(rounds.iter().map(|(kd, _)| *kd));
    let row = format!("{:<16} {:>12.3}", case.name, median(&kd));
    let peer = sorted(rounds.iter().filter_map(|(_, peer)| *peer));
    if peer.is_empty() {
        return row;
    }
    let ratios = sorted(rounds.iter().filter_map(|(kd, peer)| Some(kd / (*peer)?)));
    let range = format!("{:.3}..{:.3}", ratios[0], ratios[ratios.len() - 1]);
    let target = case.target.map_or("-".to_owned(), |target| format!("<= {target}"));
    format!("{row} {:>12.3} {:>8.3} {range:>15} {target:>8}", median(&peer), median(&ratios))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Of sorted values, at least one.
fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_rounds() {
        let rounds = [(1.0, Some(2.0)), (3.0, Some(4.0)), (2.0, Some(20.0))];
        let got = row(&CASES[0], &rounds);
        let got: Vec<_> = got.split_whitespace().collect();
        assert_eq!(got, ["teacher-step", "2.000", "4.000", "0.500", "0.100..0.750", "<=", "0.85"]);
        let alone = row(&CASES[2], &[(1.0, None), (2.0, None)]);
        assert_eq!(alone.split_whitespace().collect::<Vec<_>>(), ["student300-step", "1.500"]);
    }

    #[test]
    fn output_that_is_no_measurement_is_refused() {
        let print = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("echo '{text}'")]);
            measure(&mut command, "a").map_err(|failure| failure.code())
        };
        let ms = print(r#"{"case": "a", "median_ms": 1.5, "min_ms": 1, "samples": [1, 2]}"#);
        assert!(ms.is_ok_and(|ms| (ms - 1.5).abs() < 1e-12));
        assert_eq!(print(r#"{"case": "b", "median_ms": 1.5}"#), Err(1));
        assert_eq!(print(r#"{"case": "a", "median_ms": 0}"#), Err(1));
        assert_eq!(print("no json"), Err(1));
    }

    #[test]
    fn a_python_without_torch_is_refused() {
        assert_eq!(require_torch(Path::new("/no/such/python")).unwrap_err().code(), 66);
        assert_eq!(require_torch(Path::new("false")).unwrap_err().code(), 66);
    }
}
