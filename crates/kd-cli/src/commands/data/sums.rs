//! `kd data sums`: checksums of class folders, written once and checked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use kd_core::{Error, Result};
use kd_data::{Checksums, Finding};
use serde::Serialize;

use super::{names, place};
use crate::commands::setting::Threads;
use kd_suite::Progress;

/// Arguments of `kd data sums`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Writes DIR/SHA256SUMS, which `sha256sum -c` understands. Where that file \
                        lies beside the class folders, kd compares each image with it whenever it \
                        is read; where it is there already, every image is compared with it now, \
                        and it stays as it is.")]
pub(crate) struct Args {
    /// Class folders of images, or a folder in which `train` and `val` hold them
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Only compare every image with SHA256SUMS, which must be there
    #[arg(long, conflicts_with = "force")]
    check: bool,
    /// Write SHA256SUMS anew where it is there already
    #[arg(long)]
    force: bool,
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
    /// By this call; otherwise the images were compared.
    written: bool,
    seconds: f64,
    faults: Vec<Finding>,
}

/// Writes or checks the checksums, part by part.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut lines = Vec::new();
    for name in names(&args.folder) {
        let path = place(&args.folder, &name);
        let line = args.threads.install(|| Ok(sum(args, &path)?))?;
        if !args.json {
            print(&line);
        }
        lines.push(line);
    }
    if args.json {
        println!("{}", serde_json::json!({ "parts": lines }));
    }
    match lines.iter().map(|line| line.faults.len()).sum() {
        0 => Ok(ExitCode::SUCCESS),
        n => Err(differs(&args.folder, n).into()),
    }
}

/// Writes the checksums of one part, or compares the images with those that are there.
fn sum(args: &Args, path: &Path) -> Result<Line> {
    let started = Instant::now();
    let sums = Checksums::of(path)?;
    sums.remarks().iter().for_each(|line| eprintln!("{line}"));
    let (images, classes) = (sums.n_images(), sums.n_classes());
    let progress = Progress::start(path.display().to_string(), 0, images as u64);
    let n_done = &progress.counters.steps;
    let written = !args.check && (args.force || !sums.are_written());
    let faults = match written {
        true => sums.write(n_done).map(|()| Vec::new())?,
        false => sums.check(n_done)?,
    };
    let seconds = started.elapsed().as_secs_f64();
    Ok(Line { path: path.into(), images, classes, written, seconds, faults })
}

fn print(line: &Line) {
    let Line { path, images, classes, written, seconds, faults } = line;
    let path = path.display();
    faults.iter().for_each(|fault| println!("{path}: {fault}"));
    let what = if *written { "SHA256SUMS written" } else { "compared with SHA256SUMS" };
    println!(
        "{path}: {images} images of {classes} classes, {what} in {seconds:.1} s; {} faults",
        faults.len()
    );
}

fn differs(folder: &Path, n_faults: usize) -> Error {
    let reason = format!(
        "{n_faults} faults, listed above; restore the images, or if all are as they should be, \
         --force writes SHA256SUMS anew"
    );
    Error::Folder { path: folder.into(), reason }
}
