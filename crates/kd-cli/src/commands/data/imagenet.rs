//! `kd data imagenet`: the validation set sorted into class folders, the training set unpacked.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use kd_core::{Error, Result};
use kd_data::Finding;
use kd_data::imagenet::labels::{self, Shape, ValLabels};
use kd_data::imagenet::{
    self, Mode, Organize, Organized, Outcome, Undone, Unpack, Unpacked, Verdict, Watch,
};
use serde::Serialize;

use crate::commands::setting::stop_flag;
use crate::commands::words::words;
use crate::exit;
use kd_suite::Progress;

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
    #[arg(long, value_parser = words(MODES))]
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

const MODES: &[(&str, Mode)] = &[
    ("move", Mode::Move),
    ("hardlink", Mode::Hardlink),
    ("symlink", Mode::Symlink),
    ("copy", Mode::Copy),
    ("extract", Mode::Extract),
];

/// Checks, undoes, or makes the folders.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let labels = args.labels()?;
    if args.verify {
        return verify(args, labels.as_ref());
    }
    let stop = stop_flag()?;
    if args.undo {
        return undo(args, &stop);
    }
    let classes = labels.as_ref().map(ValLabels::classes);
    let organize =
        args.images.clone().zip(labels).map(|(images, labels)| args.organize(images, labels));
    let unpack = args.train.clone().map(|archive| Unpack {
        archive,
        root: args.out.clone(),
        n_classes: args.classes as usize,
        classes,
    });
    if args.dry_run {
        return dry_run(args, organize.as_ref(), unpack.as_ref());
    }
    let mut made = Made { val: None, train: None };
    if let Some(organize) = &organize {
        let n_images = args.shape().n_images();
        match watched("validation images", n_images, &stop, |watch| organize.run(watch))? {
            Outcome::Done(val) => made.val = Some(val),
            Outcome::Interrupted => return Ok(exit::interrupted()),
        }
    }
    if let Some(unpack) = &unpack {
        match watched("training classes", args.classes, &stop, |watch| unpack.run(watch))? {
            Outcome::Done(train) => made.train = Some(train),
            Outcome::Interrupted => return Ok(exit::interrupted()),
        }
    }
    made.print(args, "changed")?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn shape(&self) -> Shape {
        Shape { n_classes: self.classes, n_per_class: self.per_class }
    }

    /// The labels, if the sources agree.
    fn labels(&self) -> Result<Option<ValLabels>> {
        let read = |path: &PathBuf| labels::read(path, self.shape());
        let mut sources = self.labels.iter().map(read).collect::<Result<Vec<_>>>()?.into_iter();
        let Some(first) = sources.next() else { return Ok(None) };
        for other in sources {
            labels::cross_check(&first, &other)?;
            eprintln!("{} and {} agree", first.source(), other.source());
        }
        Ok(Some(first))
    }

    fn organize(&self, images: PathBuf, labels: ValLabels) -> Organize {
        let usual = if images.is_file() { Mode::Extract } else { Mode::Hardlink };
        Organize { labels, images, root: self.out.clone(), mode: self.mode.unwrap_or(usual) }
    }
}

/// What is printed in the end.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    val: Option<Organized>,
    #[serde(skip_serializing_if = "Option::is_none")]
    train: Option<Unpacked>,
}

impl Made {
    fn print(&self, args: &Args, verb: &str) -> anyhow::Result<()> {
        if let Some(val) = &self.val {
            passed_over(&val.hidden);
        }
        if args.json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        if let Some(Organized { images, classes, changed, mode, faults, .. }) = &self.val {
            faults.iter().for_each(|fault| println!("{fault}"));
            let how = mode.map(|mode| format!(" ({})", name(mode))).unwrap_or_default();
            println!("val: {images} images of {classes} classes{how}; {changed} {verb}");
        }
        if let Some(Unpacked { images, classes, changed, counts, .. }) = &self.train {
            counts.iter().for_each(|(class, n)| println!("{class} {n}"));
            println!("train: {images} images of {classes} classes; {changed} classes {verb}");
        }
        Ok(())
    }
}

fn name(mode: Mode) -> String {
    format!("{mode:?}").to_lowercase()
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
    work: impl FnOnce(Watch<'_>) -> Result<T>,
) -> Result<T> {
    let progress = Progress::start(name.into(), 0, total.into());
    let go_on = || !stop.load(Ordering::Relaxed);
    work(Watch { go_on: &go_on, n_done: &progress.counters.steps })
}

fn dry_run(
    args: &Args,
    organize: Option<&Organize>,
    unpack: Option<&Unpack>,
) -> anyhow::Result<ExitCode> {
    let val = organize.map(Organize::dry_run).transpose()?;
    let train = unpack.map(Unpack::dry_run).transpose()?;
    let made = Made { val, train };
    made.print(args, "would change")?;
    let faults = made.val.as_ref().map_or(&[][..], |val| &val.faults);
    let images = args.images.clone().unwrap_or_default();
    require_none(faults, images)
}

fn undo(args: &Args, stop: &AtomicBool) -> anyhow::Result<ExitCode> {
    if args.train.is_some() {
        eprintln!("--undo takes val back; to take train back, delete that folder");
    }
    let undo = |watch: Watch<'_>| imagenet::undo(&args.out, watch);
    let Outcome::Done(undone) = watched("undo", args.shape().n_images(), stop, undo)? else {
        return Ok(exit::interrupted());
    };
    let Undone { mode, changed, restored } = undone;
    match mode {
        _ if args.json => println!("{}", serde_json::to_string(&undone)?),
        Some(mode) => {
            println!("val: {changed} images taken back ({}), {restored} moved", name(mode));
        }
        None => println!("val: 0 images taken back: kd made none"),
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &Args, labels: Option<&ValLabels>) -> anyhow::Result<ExitCode> {
    let verdict = imagenet::verify(&args.out, labels)?;
    let train = imagenet::verify_train(&args.out)?;
    let Verdict { images, classes, faults, hidden } = &verdict;
    passed_over(hidden);
    if args.json {
        let mut object = serde_json::to_value(&verdict)?;
        object["train"] = serde_json::to_value(&train)?;
        println!("{object}");
    } else {
        faults.iter().for_each(|fault| println!("{fault}"));
        println!("val: {images} images of {classes} classes; {} faults", faults.len());
        if let Some(Unpacked { images, classes, .. }) = train {
            println!("train: {images} images of {classes} classes, all there");
        }
    }
    require_none(faults, args.out.join("val"))
}

/// Ends with the exit code of bad data if there are faults.
fn require_none(faults: &[Finding], path: PathBuf) -> anyhow::Result<ExitCode> {
    if faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let reason = format!("{} faults, listed above", faults.len());
    Err(Error::Folder { path, reason }.into())
}
