//! `kd data split`: one folder of classes becomes `train`, `val` and `test`.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use kd_data::divide::{Divide, Divided, TakenBack, undo};
use kd_data::imagenet::{Mode, Watch};

use crate::commands::setting::{Common, stop_flag};
use crate::commands::words::one_of;
use crate::exit;

/// Arguments of `kd data split`.
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("split.txt"))]
pub(crate) struct Args {
    /// Folder with a folder of pictures for each class
    #[arg(value_name = "DIR", required_unless_present = "undo")]
    images: Option<PathBuf>,
    /// Folder in which `train`, `val` and `test` are made; nothing in it is overwritten
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Share of each class that goes to `val`
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    val: f64,
    /// Share of each class that goes to `test` [default: none]
    #[arg(long, value_name = "SHARE")]
    test: Option<f64>,
    /// Which images
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// How the files get there
    #[arg(long, value_parser = one_of::<Mode>(&["hardlink", "symlink", "copy", "move"]))]
    #[arg(default_value = "hardlink")]
    mode: Mode,
    /// Only say what would be done
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    /// Take it back: links and copies go, moved files return
    #[arg(long, conflicts_with = "images")]
    undo: bool,
    #[command(flatten)]
    common: Common,
}

/// Divides the folder, or takes it back.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (stop, n_done) = (stop_flag()?, AtomicU64::new(0));
    let Some(images) = &args.images else {
        let back = Watch::until(&stop, &n_done, |watch| undo(&args.out, watch))?;
        return taken_back(args, &exit::finished(back)?);
    };
    let divide = Divide {
        images: images.clone(),
        out: args.out.clone(),
        val: args.val,
        test: args.test,
        seed: args.seed,
        mode: args.mode,
    };
    let work = |watch: Watch<'_>| match args.dry_run {
        true => divide.dry_run(watch).map(Some),
        false => divide.run(watch),
    };
    let divided = args.common.install(|| Watch::until(&stop, &n_done, work))?;
    print(args, &exit::finished(divided)?)
}

fn print(args: &Args, divided: &Divided) -> anyhow::Result<()> {
    divided.notes().iter().for_each(|line| eprintln!("{line}"));
    let Divided { classes, train, val, test, placed, .. } = divided;
    let test = args.test.map_or(String::new(), |_| format!(", test {test}"));
    let done = if args.dry_run { "nothing was changed".into() } else { format!("{placed} placed") };
    let sides = format!("{classes} classes, train {train}, val {val}{test}");
    exit::print_as(divided, args.common.json, format!("{}: {sides}; {done}", args.out.display()))
}

fn taken_back(args: &Args, back: &TakenBack) -> anyhow::Result<()> {
    for folder in &back.left {
        eprintln!("{}: stays, because something else is in it", folder.display());
    }
    exit::print_as(back, args.common.json, format!("{}: {back}", args.out.display()))
}
