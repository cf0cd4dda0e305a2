//! `kd data imagenet`: the validation set sorted into class folders, the training set unpacked.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use kd_core::Result;
use kd_data::imagenet::labels::{self, Shape, ValLabels};
use kd_data::imagenet::{self, Made, Mode, Organize, Unpack, Watch};
use kd_data::refuse_told;
use kd_suite::Progress;

use crate::commands::setting::stop_flag;
use crate::commands::words::one_of;
use crate::exit;

/// Arguments of `kd data imagenet`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Labels of the validation images: the devkit (archive or folder), LOC_val_solution.csv,
    /// imagenet_2012_validation_synset_labels.txt or valprep.sh; a second one is compared
    #[arg(long, value_name = "PATH")]
    labels: Vec<PathBuf>,
    /// The unsorted validation images: their folder, or ILSVRC2012_img_val.tar
    #[arg(long, value_name = "PATH", requires = "labels")]
    #[arg(required_unless_present_any = ["train", "undo", "verify"])]
    images: Option<PathBuf>,
    /// ILSVRC2012_img_train.tar, to be unpacked
    #[arg(long, value_name = "TAR")]
    train: Option<PathBuf>,
    /// Folder in which `val` and `train` are made
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How the validation images get there [default: extract from an archive, else hardlink]
    #[arg(long, value_parser = one_of::<Mode>(&["move", "hardlink", "symlink", "copy", "extract"]))]
    mode: Option<Mode>,
    /// Only check everything and say what would be done
    #[arg(long, conflicts_with_all = ["undo", "verify"])]
    dry_run: bool,
    /// Take `val` back: links and copies go, moved images return to their folder
    #[arg(long, conflicts_with = "verify")]
    undo: bool,
    /// Only check what is there, image by image
    #[arg(long)]
    verify: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Number of classes
    #[arg(long, default_value_t = 1000, value_name = "K")]
    classes: u32,
    /// Validation images of each class
    #[arg(long, default_value_t = 50, value_name = "N")]
    per_class: u32,
}

/// Checks, undoes, or makes the folders.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let shape = Shape { n_classes: args.classes, n_per_class: args.per_class };
    let labels = labels::read_all(&args.labels, shape)?;
    for other in labels.iter().skip(1) {
        eprintln!("{} and {} agree", labels[0].source(), other.source());
    }
    let labels = labels.into_iter().next();
    if args.verify {
        return verify(args, labels.as_ref());
    }
    let stop = stop_flag()?;
    if args.undo {
        return undo(args, shape, &stop);
    }
    let made = made(args, shape, labels, &stop)?;
    let val = made.val.as_ref();
    passed_over(val.map_or(&[], |val| &val.hidden));
    exit::print(&made, args.json)?;
    let n_faults = val.map_or(0, |val| val.faults.len());
    Ok(refuse_told(args.images.as_deref().unwrap_or(&args.out), n_faults, "")?)
}

/// What is made of the archives, or would be.
fn made(
    args: &Args,
    shape: Shape,
    labels: Option<ValLabels>,
    stop: &AtomicBool,
) -> anyhow::Result<Made> {
    let unpack = args.train.clone().map(|archive| Unpack {
        archive,
        root: args.out.clone(),
        n_classes: args.classes as usize,
        classes: labels.as_ref().map(ValLabels::classes),
    });
    let organize = args.images.clone().zip(labels).map(|(images, labels)| Organize {
        mode: args.mode.unwrap_or_else(|| Mode::usual(&images)),
        labels,
        images,
        root: args.out.clone(),
    });
    if args.dry_run {
        return Ok(Made::dry_run(organize.as_ref(), unpack.as_ref())?);
    }
    let organize = organize
        .map(|work| watched("validation images", shape.n_images(), stop, |watch| work.run(watch)));
    let val = organize.transpose()?;
    let unpack =
        unpack.map(|work| watched("training classes", args.classes, stop, |watch| work.run(watch)));
    Ok(Made { val, train: unpack.transpose()?, is_dry: false })
}

fn passed_over(hidden: &[String]) {
    if let Some(first) = hidden.first() {
        eprintln!("passed over {} hidden files, such as {first}", hidden.len());
    }
}

/// Does `work` while a bar shows how many of `total` are done, and signals stop it.
fn watched<T>(
    name: &str,
    total: u32,
    stop: &AtomicBool,
    work: impl FnOnce(Watch<'_>) -> Result<Option<T>>,
) -> anyhow::Result<T> {
    let progress = Progress::start(name.into(), 0, total.into());
    exit::finished(Watch::until(stop, &progress.counters.steps, work)?)
}

fn undo(args: &Args, shape: Shape, stop: &AtomicBool) -> anyhow::Result<()> {
    if args.train.is_some() {
        eprintln!("--undo takes val back; to take train back, delete that folder");
    }
    let undo = |watch: Watch<'_>| imagenet::undo(&args.out, watch);
    exit::print(&watched("undo", shape.n_images(), stop, undo)?, args.json)
}

fn verify(args: &Args, labels: Option<&ValLabels>) -> anyhow::Result<()> {
    let verdict = imagenet::verify(&args.out, labels)?;
    passed_over(&verdict.hidden);
    exit::print(&verdict, args.json)?;
    Ok(refuse_told(&args.out.join("val"), verdict.faults.len(), "")?)
}
