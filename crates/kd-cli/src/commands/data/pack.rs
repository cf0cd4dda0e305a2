//! `kd data pack`: photographs made smaller once, for repeated runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kd_core::Result;
use kd_data::{OnBadImage, PackSettings, Packed, Packer, Photos};
use serde::Serialize;

use super::{names, place};
use crate::commands::images::POLICIES;
use crate::commands::setting::{Threads, stop_flag};
use crate::commands::words::words;
use crate::exit;
use kd_suite::Progress;

/// Arguments of `kd data pack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Class folders of photographs, or a folder in which `train` and `val` hold them
    #[arg(long, value_name = "DIR", required_unless_present = "verify")]
    images: Option<PathBuf>,
    /// The folder to write; `train` and `val` in it if there are two parts
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Pixels of the shorter side; smaller photographs stay as large as they are
    #[arg(long, default_value_t = PackSettings::default().side, value_name = "PIXELS")]
    side: usize,
    /// Quality of the JPEG files, 1 to 100
    #[arg(long, default_value_t = PackSettings::default().quality)]
    quality: u8,
    /// The most MiB of a file of the pack
    #[arg(long, default_value_t = PackSettings::default().shard_mib, value_name = "MIB")]
    shard_mib: usize,
    /// What becomes of photographs that cannot be decoded
    #[arg(long, value_parser = words(POLICIES), default_value = "error")]
    on_bad_image: OnBadImage,
    /// Read everything in --out and check it, after packing if there is something to pack
    #[arg(long)]
    verify: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: Threads,
}

/// What is printed of one part.
#[derive(Debug, Serialize)]
struct Line {
    path: PathBuf,
    images: usize,
    classes: usize,
    shards: usize,
    bytes: u64,
    /// Names and reasons of what was left out or repaired.
    bad_images: Vec<(String, String)>,
    /// Packed by this call; fewer than `images` when it went on with earlier work.
    packed: usize,
    seconds: f64,
    verified: bool,
}

/// Packs and verifies, part by part.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = stop_flag()?;
    args.threads.install(|| {
        let names = names(args.images.as_ref().unwrap_or(&args.out));
        let mut lines = Vec::new();
        for name in names {
            let line = match &args.images {
                Some(images) => pack(args, &place(images, &name), &place(&args.out, &name), &stop)?,
                None => {
                    let out = place(&args.out, &name);
                    Some(line(&Packed::open(&out)?, &out))
                }
            };
            let Some(mut line) = line else {
                return Ok(exit::interrupted());
            };
            if args.verify {
                Packed::open(&line.path)?.verify()?;
                line.verified = true;
            }
            lines.push(line);
        }
        print(&lines, args.json)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Packs one part; nothing when a signal stopped the work.
fn pack(args: &Args, images: &Path, out: &Path, stop: &AtomicBool) -> Result<Option<Line>> {
    let photos = Photos::folder(images)?.with_policy(args.on_bad_image);
    photos.remarks().iter().for_each(|line| eprintln!("{line}"));
    let (side, quality, shard_mib) = (args.side, args.quality, args.shard_mib);
    let started = Instant::now();
    let mut packer = Packer::new(photos, out, PackSettings { side, quality, shard_mib })?;
    let (first, total) = (packer.n_done(), packer.n_images());
    let progress = Progress::start(images.display().to_string(), first as u64, total as u64);
    while packer.step()? {
        progress.counters.steps.store(packer.n_done() as u64, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
    }
    let packed = total - first;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Some(Line { packed, seconds, ..line(&packer.finish()?, out) }))
}

fn line(packed: &Packed, path: &Path) -> Line {
    Line {
        path: path.into(),
        images: packed.len(),
        classes: packed.classes().len(),
        shards: packed.n_shards(),
        bytes: packed.n_bytes(),
        bad_images: packed.bad_images().to_vec(),
        packed: 0,
        seconds: 0.0,
        verified: false,
    }
}

fn print(lines: &[Line], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::json!({ "parts": lines }));
        return Ok(());
    }
    for line in lines {
        line.bad_images.iter().for_each(|(name, reason)| println!("{name}: {reason}"));
        let Line { images, classes, shards, bytes, packed, seconds, .. } = line;
        let mib = *bytes as f64 / f64::from(1 << 20);
        let verified = if line.verified { "; verified" } else { "" };
        println!(
            "{}: {images} images of {classes} classes in {shards} shards, {mib:.1} MiB; packed \
             {packed} in {seconds:.1} s{verified}",
            line.path.display()
        );
    }
    Ok(())
}
