//! `kd data pack`: photographs made smaller once, for repeated runs.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use kd_core::Result;
use kd_data::{OnBadImage, PackSettings, PackSummary, Packed, Packer, Photos};
use kd_suite::Progress;

use super::{parts, place};
use crate::commands::images::policy;
use crate::commands::setting::{Common, stop_flag};
use crate::exit;

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
    #[arg(long, value_parser = policy(), default_value = "error")]
    on_bad_image: OnBadImage,
    /// Read everything in --out and check it, after packing if there is something to pack
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    common: Common,
}

/// Packs and verifies, part by part.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let stop = stop_flag()?;
    let folder = args.images.as_ref().unwrap_or(&args.out);
    parts((folder, args.common.json), |name| args.common.install(|| part(args, name, &stop)))
        .map(drop)
}

/// Packs one part, where there is something to pack, and verifies it.
fn part(args: &Args, name: &str, stop: &AtomicBool) -> anyhow::Result<PackSummary> {
    let out = place(&args.out, name);
    let mut summary = match &args.images {
        Some(images) => exit::finished(pack(args, &place(images, name), &out, stop)?)?,
        None => Packed::open(&out)?.summary(),
    };
    if args.verify {
        Packed::open(&out)?.verify()?;
        summary.verified = true;
    }
    Ok(summary)
}

/// Nothing when a signal stopped the work.
fn pack(args: &Args, images: &Path, out: &Path, stop: &AtomicBool) -> Result<Option<PackSummary>> {
    let photos = Photos::folder(images)?.with_policy(args.on_bad_image);
    photos.remarks().iter().for_each(|line| eprintln!("{line}"));
    let (side, quality, shard_mib) = (args.side, args.quality, args.shard_mib);
    let packer = Packer::new(photos, out, PackSettings { side, quality, shard_mib })?;
    let (first, total) = (packer.n_done(), packer.n_images());
    let progress = Progress::start(images.display().to_string(), first as u64, total as u64);
    packer.run(stop, &progress.counters.steps)
}
