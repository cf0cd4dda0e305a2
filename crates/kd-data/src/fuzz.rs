//! Damaged files of every format: each is read or refused, and never ends the program.
//!
//! `KD_FUZZ=1000000 cargo test -p kd-data --release fuzz` tries so many of each, and then also looks
//! at time and memory.

use std::path::Path;
use std::time::Duration;

use kd_core::rng::Rng;
use kd_core::testing::busy;
use kd_core::{Stream, fsx};

use crate::archive;
use crate::cifar::records::{Gathered, Labels};
use crate::decode::fixture::{GOLDEN, golden, golden_pictures};
use crate::decode::{Picture, lenient};
use crate::idx::Idx;

/// Files of each kind where no number is given.
const N_FILES: u64 = 300;
/// What no file may take.
const MOST: Duration = Duration::from_secs(1);
const MOST_KB: u64 = 256 << 10;

/// Reads many damaged copies of `seeds`.
fn fuzz(name: &str, seeds: &[Vec<u8>], read: impl Fn(&[u8])) {
    let asked: Option<u64> = std::env::var("KD_FUZZ").ok().and_then(|n| n.parse().ok());
    let stream = Stream::new(7).at(name);
    let mut slowest = (Duration::ZERO, 0);
    for i in 0..asked.unwrap_or(N_FILES) {
        let bytes = damaged(seeds, &mut stream.number(i).rng());
        let started = asked.map(|_| busy());
        read(&bytes);
        let time = started.map_or(Duration::ZERO, |started| busy() - started);
        slowest = slowest.max((time, i));
    }
    if asked.is_some() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        println!("{name}: slowest {:?} (file {}), peak {peak}", slowest.0, slowest.1);
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(slowest.0 < MOST && peak < MOST_KB, "{name}");
    }
}

/// A copy of one of the seeds with a few changes.
fn damaged(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = seeds[rng.below(seeds.len() as u32) as usize].clone();
    for _ in 0..=rng.below(4) {
        let n = bytes.len().max(1) as u32;
        // Most of what counts is at the beginning.
        let at = if rng.below(2) == 0 { rng.below(n.min(64)) } else { rng.below(n) } as usize;
        match rng.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), rng.below(256) as u8),
            2 => {
                let end = (at + rng.below(40) as usize).min(bytes.len());
                let piece = bytes[at.min(end)..end].to_vec();
                bytes.extend(piece);
            }
            3 => {
                let value = [0_u32, 1, 0xff, 0xffff, 0x7fff_ffff, u32::MAX, 65_500];
                let value = value[rng.below(7) as usize].to_be_bytes();
                bytes.iter_mut().skip(at).zip(value).for_each(|(to, from)| *to = from);
            }
            4 => bytes.iter_mut().skip(at).take(1).for_each(|to| *to ^= 1 << rng.below(8)),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|to| *to = rng.below(256) as u8),
        }
    }
    bytes
}

#[test]
fn idx_files() {
    let images = Idx::new(&[3, 4, 5], &(0..60).collect::<Vec<u8>>()).unwrap();
    let labels = Idx::new(&[3], &[1, 2, 3]).unwrap();
    let raw = [images.content().to_vec(), labels.content().to_vec()];
    let packed = raw.clone().map(|bytes| archive::tests::gzip(&bytes));
    fuzz("idx", &[&raw[..], &packed].concat(), |bytes| {
        for n_dims in [1, 3] {
            if let Ok(idx) = Idx::decode(Path::new("a"), bytes, n_dims) {
                assert_eq!(idx.dims().iter().product::<usize>(), idx.data().len());
            }
        }
    });
}

#[test]
fn cifar_records() {
    let formats: [&'static [usize]; 2] = [&[10], &[20, 100]];
    let record = |n: usize| [vec![5; n], (0..3072).map(|i| i as u8).collect()].concat();
    let seeds = [record(1), [record(1), record(1)].concat(), record(2)];
    fuzz("cifar", &seeds, |bytes| {
        for n_classes in formats {
            let mut gathered = Gathered::new(Labels { n_classes, taken: 0 });
            if gathered.add(Path::new("a"), bytes).is_ok() {
                assert!(!gathered.into_images().unwrap().labels().is_empty());
            }
        }
    });
}

#[test]
fn pictures() {
    let jpegs = GOLDEN.map(|name| golden(name)[0].clone());
    let others = golden_pictures().into_iter().map(|picture| picture.file);
    let seeds: Vec<Vec<u8>> = jpegs.into_iter().chain(others).collect();
    fuzz("pictures", &seeds, |bytes| {
        let Ok(picture) = Picture::open(bytes) else { return };
        let size = picture.size();
        picture.is_gray();
        if let Ok(rgb) = picture.rgb() {
            assert_eq!((rgb.size, rgb.pixels.len()), (size, 3 * size[0] * size[1]));
        }
    });
}

/// Cut ones, and with more behind their ends.
#[test]
fn jpeg_files_with_other_ends() {
    let seeds = GOLDEN.map(|name| golden(name)[0].clone());
    fuzz("jpeg ends", &seeds, |bytes| {
        let n = bytes.len();
        let tail = [bytes, &[0xff, 0xd8, 0xff, 0xda, 0, 2], &bytes[n / 2..]].concat();
        for bytes in [&bytes[..n - n.min(2)], &tail] {
            let _ = Picture::open(bytes).and_then(|picture| picture.rgb());
            let _ = lenient(bytes);
        }
    });
}

#[test]
fn texts() {
    let seeds = [
        "\u{feff}ImageId,PredictionString\r\nILSVRC2012_val_00000001,n01751748 1 2 3 4\r\n".into(),
        b"\xff\xfea\0\xe9\0".to_vec(),
    ];
    fuzz("texts", &seeds, |bytes| {
        if let Ok(text) = fsx::text(Path::new("a"), bytes.to_vec()) {
            assert!(!text.starts_with('\u{feff}') || bytes.len() > 3);
        }
    });
}
