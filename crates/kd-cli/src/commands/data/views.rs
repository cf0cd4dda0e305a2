//! `kd data views`: exactly what a training shows, for a teacher that runs elsewhere.

use std::path::PathBuf;

use kd_data::DataSpec;
use kd_suite::{Class, Holdout, Shown};

use crate::commands::augment::AugmentArgs;
use crate::commands::exchange::may_write;
use crate::commands::images::DataArgs;
use crate::commands::setting::{Common, DataDir, stop_flag};
use crate::exit;

/// Arguments of `kd data views`.
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("views.txt"))]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    augment: AugmentArgs,
    /// Training images that are set aside, as of `kd train`
    #[arg(long, default_value = "0", value_name = "N")]
    holdout: Holdout,
    /// Class that the training images lack
    #[arg(long, value_name = "CLASS")]
    omit_class: Option<Class>,
    /// The list to write, a line of JSON each
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write over --out
    #[arg(long)]
    force: bool,
    /// Write the very pixels as well, DIR/VIEW/INDEX.png, so that no other decoder or filter comes between
    #[arg(long, value_name = "DIR")]
    pixels: Option<PathBuf>,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    common: Common,
}

/// Writes the list, and the pixels where they are wanted.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    may_write(&args.out, args.force)?;
    let stop = stop_flag()?;
    let data = args.data.spec(|| None)?;
    let augment = args.augment.augment(matches!(data, DataSpec::Photos(_)))?;
    let shown = Shown { data, holdout: args.holdout, omit_class: args.omit_class.clone(), augment };
    let (data_dir, places) = (&args.data_dir.path, (&*args.out, args.pixels.as_deref()));
    let written = args.common.install(|| shown.write(Some(data_dir), places, &stop))?;
    exit::print(&exit::finished(written)?, args.common.json)
}
