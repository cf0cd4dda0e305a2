//! Opens damaged files of weights, a million of them: every one must be read or refused, and soon (time on a
//! processor counts, on Linux).
//!
//! ```sh
//! ulimit -v 700000 # kB: no file may make it allocate more
//! cargo run --package kd-models --example mutate -- 1000000 0 findings FILE...
//! ```
//!
//! Takes the number of mutations, a seed, a folder for the files at which it panicked or took more than a
//! second, and whole files of any format. Within a zip archive, half of the mutations are of its pickle,
//! whose checksum is then made right.

#![expect(clippy::print_stdout, reason = "an example says what it found")]

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::Device;
use kd_core::testing::busy;
use kd_models::onnx::{self, ImportOptions};
use kd_models::weights::{Naming, Shapes, WeightsFile};

/// The longest that a file may take.
const LIMIT: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut word = || args.next().ok_or("give: COUNT SEED FOLDER FILE...");
    let (count, seed, folder) = (word()?.parse::<u64>()?, word()?.parse()?, PathBuf::from(word()?));
    let files: Vec<(String, Vec<u8>)> = args
        .map(|path| Ok((path.clone(), std::fs::read(path)?)))
        .collect::<std::io::Result<_>>()?;
    let mut random = Random(seed);
    let work = tempfile::tempdir_in("/dev/shm")?;
    let (mut slowest, mut read) = (Duration::ZERO, 0u64);
    for i in 0..count {
        let (name, bytes) = &files[random.below(files.len())];
        let other = &files[random.below(files.len())].1;
        let damaged = damaged(bytes, other, &mut random);
        let path = work.path().join(if name.ends_with(".onnx") { "a.onnx" } else { "a.pth" });
        std::fs::write(&path, &damaged)?;
        let started = busy();
        let opened = catch_unwind(AssertUnwindSafe(|| open(&path)));
        let took = busy() - started;
        slowest = slowest.max(took);
        read += u64::from(matches!(opened, Ok(true)));
        if opened.is_err() || took > LIMIT {
            std::fs::create_dir_all(&folder)?;
            let finding = folder.join(format!("{seed}-{i}"));
            std::fs::write(&finding, &damaged)?;
            println!("{} of {name}: {took:?}, panic {}", finding.display(), opened.is_err());
        }
        if i % 50_000 == 0 {
            println!("{i}: {read} read, slowest {slowest:?}");
        }
    }
    println!("{count}: {read} read, slowest {slowest:?}");
    Ok(())
}

/// Does with a file all that commands do; whether it could be read.
fn open(path: &Path) -> bool {
    if path.extension().is_some_and(|extension| extension == "onnx") {
        return onnx::import(path, &ImportOptions::default()).is_ok();
    }
    let Ok(file) = WeightsFile::open(path) else { return false };
    file.list();
    let shapes: [(&str, &[usize]); 4] =
        [("fc1.weight", &[3, 4]), ("fc1.bias", &[3]), ("fc2.weight", &[2, 3]), ("fc2.bias", &[2])];
    let wanted: Shapes = shapes.map(|(name, shape)| (name.to_owned(), shape.to_vec())).into();
    let Ok(fit) = file.fit(&Naming::default(), &wanted) else { return false };
    fit.notes();
    fit.other_classes();
    fit.read(&Device::Cpu).is_ok()
}

fn damaged(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    let pickle = pickle(bytes).filter(|_| random.below(2) == 0);
    let place = pickle.as_ref().map_or(0..bytes.len(), |(content, _)| content.clone());
    for _ in 0..=random.below(6) {
        if place.is_empty() {
            break;
        }
        change(&mut damaged, place.clone(), other, random, pickle.is_none());
    }
    if let Some((content, sums)) = pickle {
        let crc32 = crc32fast::hash(&damaged[content]).to_le_bytes();
        sums.into_iter().for_each(|at| damaged[at..at + 4].copy_from_slice(&crc32));
    }
    damaged
}

/// One change within `place`; its length stays, unless it `may_resize`.
fn change(
    bytes: &mut Vec<u8>,
    place: Range<usize>,
    other: &[u8],
    random: &mut Random,
    may_resize: bool,
) {
    let end = place.end.min(bytes.len());
    if place.start >= end {
        return;
    }
    let at = place.start + random.below(end - place.start);
    let n = (1 + random.below(16)).min(end - at);
    match random.below(if may_resize { 9 } else { 6 }) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.below(256) as u8,
        2 => bytes[at..at + n].fill([0, 0xff, 0x7f, 0x80][random.below(4)]),
        // A part of the file, or of another one.
        3 => {
            let from = place.start + random.below(end - place.start - n + 1);
            bytes.copy_within(from..from + n, at);
        }
        4 if other.len() > n => {
            let from = random.below(other.len() - n);
            bytes[at..at + n].copy_from_slice(&other[from..from + n]);
        }
        5 => bytes[at] = bytes[at].wrapping_add(1),
        6 => bytes.truncate(at),
        7 => {
            bytes.drain(at..at + n);
        }
        _ => {
            let part = bytes[at..at + n].to_vec();
            bytes.splice(at..at, part.repeat(1 + random.below(64)));
        }
    }
}

/// Where the content of an archive's `data.pkl` lies, and its checksums: in the directory and before it.
fn pickle(bytes: &[u8]) -> Option<(Range<usize>, [usize; 2])> {
    let number = |at: usize, n: usize| {
        let part = bytes.get(at..at + n)?;
        Some(part.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let is_entry = |at: &usize| {
        let name = number(at + 28, 2).and_then(|n| bytes.get(at + 46..at + 46 + n));
        bytes[*at..].starts_with(b"PK\x01\x02") && name.is_some_and(|n| n.ends_with(b"data.pkl"))
    };
    let entry = (0..bytes.len()).find(is_entry)?;
    let (n_bytes, local) = (number(entry + 20, 4)?, number(entry + 42, 4)?);
    let start = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
    bytes.get(start..start + n_bytes)?;
    Some((start..start + n_bytes, [entry + 16, local + 14]))
}

/// A generator of random numbers: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}
