//! `kd data views`: exactly what a training shows, for a teacher that runs elsewhere.

use std::path::PathBuf;

use kd_data::DataSpec;
use kd_suite::{Class, Holdout, Shown};

use crate::commands::augment::AugmentArgs;
use crate::commands::exchange::may_write;
use crate::commands::images::DataArgs;
use crate::commands::setting::{DataDir, Threads, stop_flag};
use crate::exit;

/// Arguments of `kd data views`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The list has a line of JSON for the training, and one for each version of each image, all \
                        images of version 0 first. `cut` is the part of the image that is cut out, `box` what \
                        of it is resized, `size` the result, `flip` whether it is mirrored at last; in Python:\n\n  \
                        top, left, h, w = line['cut']; y, x, bh, bw = line['box']\n  \
                        part = Image.open(file).convert('RGB').crop((left, top, left + w, top + h))\n  \
                        part = part.resize(line['size'][::-1], Image.BILINEAR, box=(x, y, x + bw, y + bh))\n  \
                        if line['flip']: part = ImageOps.mirror(part)\n\n\
                        Where it has a `partner`, the network sees `lambda` times these pixels and the rest times \
                        those of the partner's line of the same version; --pixels writes them before that.\n\n\
                        A teacher's logits in this order, (views, N, K) or (N, K), go to `kd train \
                        --teacher-logits`, with the same flags as here. In a safetensors file, metadata \
                        {'kd.views': digest} names the list, which is then checked."
)]
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
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    threads: Threads,
}

/// Writes the list, and the pixels where they are wanted.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    may_write(&args.out, args.force)?;
    let stop = stop_flag()?;
    let data = args.data.spec(|| None)?;
    let augment = args.augment.augment(matches!(data, DataSpec::Photos(_)))?;
    let shown = Shown { data, holdout: args.holdout, omit_class: args.omit_class.clone(), augment };
    let (data_dir, places) = (args.data_dir.path(), (&*args.out, args.pixels.as_deref()));
    let written = args.threads.install(|| shown.write(Some(&data_dir), places, &stop))?;
    exit::print(&exit::finished(written)?, args.json)
}
