//! Damaged suite files: each is read or refused, and never ends the program.
//!
//! `KD_FUZZ=1000000 cargo test -p kd-suite --release fuzz` tries so many, and then also looks at time and
//! memory.

use std::time::Duration;

use kd_core::rng::Rng;
use kd_core::testing::busy;
use kd_core::{Result, Stream};

use super::{Spec, Suite, resolve};

/// Files where no number is given.
const N_FILES: u64 = 300;
/// What no file may take.
const MOST: Duration = Duration::from_secs(1);
const MOST_KB: u64 = 256 << 10;
/// What is put into a file.
const WORDS: [&str; 22] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'''",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "1e999",
    "-",
    "0",
    "nan",
    "18446744073709551616",
    "\\u0000",
    "\u{feff}",
    "é",
    "[[training]]\n",
    "a.b.c.d.",
    "true",
];

/// All suites of the repository, and the examples of the format.
fn seeds() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../xtask/suites");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let mut suites: Vec<String> =
        files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    suites.sort();
    assert!(suites.len() >= 4);
    let format = include_str!("../../FORMAT.md").split("```toml\n").skip(1);
    suites.extend(format.filter_map(|text| text.split("```").next()).map(str::to_owned));
    suites
}

/// A copy of one of the seeds with a few changes.
fn damaged(seeds: &[String], rng: &mut Rng) -> String {
    let mut pick = |n: usize| rng.below(n.max(1) as u32) as usize;
    let mut text: Vec<char> = seeds[pick(seeds.len())].chars().collect();
    for _ in 0..=pick(4) {
        let at = pick(text.len());
        match pick(6) {
            0 => text.truncate(at),
            1 => drop(text.drain(at..text.len().min(at + pick(30)))),
            2 => text.extend_from_within(at..text.len().min(at + pick(300))),
            3 if !text.is_empty() => {
                let other = pick(text.len());
                text.swap(at, other);
            }
            _ => drop(text.splice(at..at, WORDS[pick(WORDS.len())].chars())),
        }
    }
    text.into_iter().collect()
}

/// The suite as one of its presets has it.
fn resolved(text: &str, rng: &mut Rng) -> Result<Spec> {
    let suite = Suite::parse("a.toml", text)?;
    let presets: Vec<&str> = suite.preset.keys().map(String::as_str).chain(["quick"]).collect();
    let preset = presets[rng.below(presets.len() as u32) as usize];
    resolve(&suite, preset, rng.below(2) == 0, 1)
}

#[test]
fn no_damaged_suite_file_ends_the_program() {
    let asked: Option<u64> = std::env::var("KD_FUZZ").ok().and_then(|n| n.parse().ok());
    let (seeds, mut slowest) = (seeds(), (Duration::ZERO, 0));
    for i in 0..asked.unwrap_or(N_FILES) {
        let mut rng = Stream::new(5).number(i).rng();
        let text = damaged(&seeds, &mut rng);
        let started = asked.map(|_| busy());
        match resolved(&text, &mut rng) {
            Ok(spec) => assert!(!spec.training.is_empty() && spec.to_toml().is_ok(), "file {i}"),
            Err(error) => assert!(!error.to_string().contains('\n'), "file {i}: {error}"),
        }
        let time = started.map_or(Duration::ZERO, |started| busy() - started);
        slowest = slowest.max((time, i));
    }
    if asked.is_some() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        println!("suites: slowest {:?} (file {}), peak {peak}", slowest.0, slowest.1);
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(slowest.0 < MOST && peak < MOST_KB);
    }
}
