//! `cargo xtask bench`: kd's speed, and the same work in PyTorch and others.
//!
//! Key decision: with `--peer` the two take turns, round by round, so that a machine that slows
//! down slows both; what counts is the ratio within a round.

mod cases;
mod photos;
mod session;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use serde::Deserialize;

use crate::child;
use crate::failure::{Code, Failure, Result};
use crate::kd;

use cases::{CASES, Case, Peer};
pub(crate) use cases::{work, work_beside_a_peer};
pub(crate) use session::{Compared, Measured, Session};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure PyTorch too, in turns, and print ratios; in some cases onnxruntime, or candle as it is
    #[arg(long)]
    peer: bool,
    /// A Python that has torch, and onnx, onnxscript and onnxruntime for the cases of the latter
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Only this case; may be repeated
    #[arg(long = "case", value_name = "NAME", value_parser = CASES.map(|case| case.name))]
    cases: Vec<String>,
    /// Photographs for the cases that need them: in class folders, or in one folder with the class
    /// before the first `_` of their names [default: imagenet-samples in KD_DATA_DIR, else data/]
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Rounds of each case
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Print how near each kernel comes to what the machine can do: GFLOP/s, GB/s, and the share of the most that
    /// either allows
    #[arg(long, conflicts_with_all = ["peer", "python", "cases", "photos", "rounds", "json"])]
    roofline: bool,
    /// Print one JSON object, as `xtask/results/speed-*.json` are, instead of a table
    #[arg(long)]
    json: bool,
}

/// What one side prints of one case. More fields may follow.
#[derive(Debug, Clone, Default, Deserialize)]
struct Measurement {
    case: String,
    /// Milliseconds.
    median_ms: f64,
    /// Of kd only.
    #[serde(default)]
    images_per_second: f64,
    /// The most memory, units of 2^20 bytes; unknown on some systems.
    peak_mb: Option<f64>,
}

/// What kd and, with `--peer`, PyTorch measured in one round.
type Round = (Measurement, Option<Measurement>);

/// Measures and prints a table, or JSON. A case that fails is left out, and the others go on.
///
/// # Errors
/// [`Code::MissingInput`] when `--python` has no torch, at the end the exit code of the first case that failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.roofline {
        return child::run(kd::build_bench()?.arg("--roofline"));
    }
    let peer = if args.peer { Some(torch(&args.python)?) } else { None };
    let program = PathBuf::from(kd::build_bench()?.get_program());
    let photos = photos::class_folders(args.photos.as_deref())?;
    let mut session = Session::here(peer, args.rounds);
    if !args.json {
        println!("{}", header(args.peer));
    }
    let mut failed = None;
    for case in CASES.iter().filter(|case| args.has(case.name)) {
        if case.has_photos() && photos.is_none() {
            eprintln!("{:<NAME$} skipped: no photographs; name a folder: --photos DIR", case.name);
            continue;
        }
        let measured = match rounds(args, &program, photos.as_deref(), case) {
            Ok(rounds) => measured(case, &rounds),
            Err(failure) => {
                failure.print();
                eprintln!("{:<NAME$} failed", case.name);
                failed.get_or_insert(failure.code());
                continue;
            }
        };
        if !args.json {
            rows(case, &measured).iter().for_each(|row| println!("{row}"));
        }
        session.cases.push(measured);
    }
    if args.json {
        println!("{}", session.json()?);
    }
    failed.map_or(Ok(()), |code| Err(Failure::Child(code)))
}

fn rounds(args: &Args, program: &Path, photos: Option<&Path>, case: &Case) -> Result<Vec<Round>> {
    let one = |i| {
        eprintln!("{}: round {} of {}", case.name, i + 1, args.rounds);
        round(args, program, photos, case, i)
    };
    (0..args.rounds).map(one).collect()
}

impl Args {
    fn has(&self, case: &str) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case)
    }
}

/// Name and version of the peer.
fn torch(python: &Path) -> Result<String> {
    let mut command = Command::new(python);
    command.args(["-c", "import torch; print(torch.__version__)"]).stderr(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => {
            Ok(format!("PyTorch {}", String::from_utf8_lossy(&output.stdout).trim()))
        }
        _ => {
            let line = "cannot import torch; name a Python that can: --python PATH";
            Err(Failure::new(Code::MissingInput, format!("{}: {line}", python.display())))
        }
    }
}

/// Who begins changes with each round.
fn round(args: &Args, program: &Path, photos: Option<&Path>, case: &Case, i: u32) -> Result<Round> {
    let measure = |command: &mut Command, name: &str| {
        if let Some(photos) = photos.filter(|_| case.has_photos()) {
            command.arg("--photos").arg(photos);
        }
        measure(command, name)
    };
    let kd = || measure(&mut Command::new(program), case.work);
    let peer = || {
        let (mut python, mut program) = (Command::new(&args.python), Command::new(program));
        python.arg(kd::root().join("xtask/peer/peer.py"));
        match case.peer {
            Peer::PyTorch => measure(&mut python, case.work),
            Peer::Onnxruntime => measure(python.args(["--engine", "onnxruntime"]), case.work),
            Peer::Candle => {
                // kd's programs keep candle's own threads to one.
                let threads = available_parallelism().map_or(1, usize::from).to_string();
                program.env("CANDLE_NUM_THREADS", threads);
                measure(&mut program, &format!("candle-{}", case.work))
            }
            Peer::OneThread => measure(program.args(["--threads", "1"]), case.work),
        }
    };
    Ok(match (args.peer && case.rate.is_none(), i % 2) {
        (false, _) => (kd()?, None),
        (true, 0) => (kd()?, Some(peer()?)),
        (true, _) => {
            let peer = peer()?;
            (kd()?, Some(peer))
        }
    })
}

/// What `command` prints for `case`.
fn measure(command: &mut Command, case: &str) -> Result<Measurement> {
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
    Ok(measurement)
}

/// Letters of a case's name and unit at most.
const NAME: usize = 38;

fn header(peer: bool) -> String {
    let kd = format!("{:<NAME$} {:>12}", "case", "kd");
    if !peer {
        return kd;
    }
    format!("{kd} {:>12} {:>8} {:>15} {:>8}", "the other", "ratio", "range", "target")
}

/// Time and memory; a rate, where there is no PyTorch side.
fn measured(case: &Case, rounds: &[Round]) -> Measured {
    let both = |of: fn(&Measurement) -> Option<f64>| {
        let pair = |(kd, peer): &Round| Some((of(kd)?, peer.as_ref().and_then(of)));
        Compared::of(&rounds.iter().filter_map(pair).collect::<Vec<_>>())
    };
    let rates: Vec<_> = rounds.iter().map(|(kd, _)| (kd.images_per_second, None)).collect();
    Measured {
        case: case.name.into(),
        time: both(|m| Some(m.median_ms)),
        memory: both(|m| m.peak_mb),
        rate: case.rate.and(Compared::of(&rates)).and_then(|rate| rate.kd),
    }
}

/// Time, and where it counts memory; a rate, where there is no PyTorch side.
fn rows(case: &Case, measured: &Measured) -> Vec<String> {
    let name = |unit: &str| format!("{} {unit}", case.name);
    if let (Some(rate), Some(ours)) = (case.rate, measured.rate) {
        return vec![format!("{:<NAME$} {ours:>12.0} (>= {rate})", name("/s"))];
    }
    let time = measured.time.as_ref().map(|time| row(&name("ms"), case.target, time));
    let memory = measured.memory.as_ref().filter(|_| case.memory.is_some());
    let memory = memory.map(|memory| row(&name("MB"), case.memory, memory));
    time.into_iter().chain(memory).collect()
}

fn row(name: &str, target: Option<f64>, compared: &Compared) -> String {
    let Compared { kd, peer, ratio, range } = compared;
    let row = format!("{name:<NAME$} {:>12.3}", kd.unwrap_or(f64::NAN));
    let (Some(peer), Some(ratio), Some([low, high])) = (peer, ratio, range) else { return row };
    let range = format!("{low:.3}..{high:.3}");
    let target = target.map_or("-".to_owned(), |target| format!("<= {target}"));
    format!("{row} {peer:>12.3} {ratio:>8.3} {range:>15} {target:>8}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(kd: (f64, f64), peer: Option<(f64, f64)>) -> Round {
        let of = |(median_ms, peak_mb)| Measurement {
            median_ms,
            peak_mb: Some(peak_mb),
            images_per_second: 128e3 / median_ms,
            ..Measurement::default()
        };
        (of(kd), peer.map(of))
    }

    fn words(row: &str) -> Vec<&str> {
        row.split_whitespace().collect()
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds() {
        let rounds =
            [((1.0, 9.0), (2.0, 10.0)), ((3.0, 9.0), (4.0, 6.0)), ((2.0, 9.0), (20.0, 9.0))]
                .map(|(kd, peer)| round(kd, Some(peer)));
        let got = rows(&CASES[4], &measured(&CASES[4], &rounds));
        let time = "resnet18-step ms 2.000 4.000 0.500 0.100..0.750 <= 0.55";
        let memory = "resnet18-step MB 9.000 9.000 1.000 0.900..1.500 <= 0.6";
        assert_eq!(
            got.iter().map(|row| words(row)).collect::<Vec<_>>(),
            [words(time), words(memory)]
        );
        assert_eq!(rows(&CASES[0], &measured(&CASES[0], &rounds)).len(), 1);
    }

    #[test]
    fn without_the_other_side_there_is_no_ratio() {
        let rounds = [round((1.0, 9.0), None), round((2.0, 9.0), None)];
        let row = &rows(&CASES[2], &measured(&CASES[2], &rounds))[0];
        assert_eq!(words(row), ["student300-step", "ms", "1.500"]);
        let batches = CASES.iter().find(|case| case.rate.is_some()).unwrap();
        let rate = rows(batches, &measured(batches, &rounds));
        assert_eq!(words(&rate[0]), ["cifar-batches", "/s", "96000", "(>=", "100000)"]);
    }

    #[test]
    fn output_that_is_no_measurement_is_refused() {
        let print = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("echo '{text}'")]);
            measure(&mut command, "a").map(|m| m.median_ms).map_err(|failure| failure.code())
        };
        let ms = print(r#"{"case": "a", "median_ms": 1.5, "min_ms": 1, "samples": [1, 2]}"#);
        assert!(ms.is_ok_and(|ms| (ms - 1.5).abs() < 1e-12));
        assert_eq!(print(r#"{"case": "b", "median_ms": 1.5}"#), Err(1));
        assert_eq!(print(r#"{"case": "a", "median_ms": 0}"#), Err(1));
        assert_eq!(print("no json"), Err(1));
    }

    #[test]
    fn a_python_without_torch_is_refused() {
        assert_eq!(torch(Path::new("/no/such/python")).unwrap_err().code(), 66);
        assert_eq!(torch(Path::new("false")).unwrap_err().code(), 66);
    }
}
