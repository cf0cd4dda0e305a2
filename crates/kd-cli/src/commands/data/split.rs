//! `kd data split`: one folder of classes becomes `train`, `val` and `test`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use kd_data::divide::{Divide, Divided, TakenBack, undo};
use kd_data::imagenet::{Mode, Outcome, Watch};

use crate::commands::setting::{Threads, stop_flag};
use crate::commands::words::words;
use crate::exit;

/// Arguments of `kd data split`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Of each class the same share goes to each side. Files of equal content stay on \
                        one side; pictures that only look alike are not found. OUT/.kd-split.json \
                        lists every file with its digest: by it the same command goes on where it was \
                        interrupted, and --undo takes all back."
)]
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
    #[arg(long, value_parser = words(MODES), default_value = "hardlink")]
    mode: Mode,
    /// Only say what would be done
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    /// Take it back: links and copies go, moved files return
    #[arg(long, conflicts_with = "images")]
    undo: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: Threads,
}

const MODES: &[(&str, Mode)] = &[
    ("hardlink", Mode::Hardlink),
    ("symlink", Mode::Symlink),
    ("copy", Mode::Copy),
    ("move", Mode::Move),
];

/// Divides the folder, or takes it back.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (stop, n_done) = (stop_flag()?, AtomicU64::new(0));
    let go_on = || !stop.load(Ordering::Relaxed);
    let watch = || Watch { go_on: &go_on, n_done: &n_done };
    let Some(images) = &args.images else {
        return taken_back(args, undo(&args.out, watch())?);
    };
    let divide = Divide {
        images: images.clone(),
        out: args.out.clone(),
        val: args.val,
        test: args.test,
        seed: args.seed,
        mode: args.mode,
    };
    let outcome = args.threads.install(|| {
        Ok(match args.dry_run {
            true => Outcome::Done(divide.dry_run(watch())?),
            false => divide.run(watch())?,
        })
    })?;
    match outcome {
        Outcome::Done(divided) => print(args, &divided),
        Outcome::Interrupted => Ok(exit::interrupted()),
    }
}

fn print(args: &Args, divided: &Divided) -> anyhow::Result<ExitCode> {
    let Divided { classes, train, val, test, duplicates, contradictions, remarks, placed } =
        divided;
    remarks.iter().for_each(|line| eprintln!("{line}"));
    if *duplicates > 0 {
        eprintln!("{duplicates} files have the content of another one, and lie on its side");
    }
    for (one, other) in contradictions.iter().take(5) {
        eprintln!("{one} and {other} have the same content, but are of different classes");
    }
    if contradictions.len() > 5 {
        eprintln!("and {} more such files", contradictions.len() - 5);
    }
    if args.json {
        println!("{}", serde_json::to_string(divided)?);
        return Ok(ExitCode::SUCCESS);
    }
    let test = args.test.map_or(String::new(), |_| format!(", test {test}"));
    let done = if args.dry_run { "nothing was changed".into() } else { format!("{placed} placed") };
    println!("{}: {classes} classes, train {train}, val {val}{test}; {done}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn taken_back(args: &Args, outcome: Outcome<TakenBack>) -> anyhow::Result<ExitCode> {
    let Outcome::Done(back) = outcome else { return Ok(exit::interrupted()) };
    let TakenBack { removed, restored, left } = &back;
    for folder in left {
        eprintln!("{}: stays, because something else is in it", folder.display());
    }
    match args.json {
        true => println!("{}", serde_json::to_string(&back)?),
        false => println!("{}: {removed} removed, {restored} moved back", args.out.display()),
    }
    Ok(ExitCode::SUCCESS)
}
