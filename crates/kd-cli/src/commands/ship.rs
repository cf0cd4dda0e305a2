//! `kd ship`: from a folder of photographs to a small network that is ready to be used.

use std::path::PathBuf;

use kd_core::Result;
use kd_data::OnBadImage;
use kd_models::Names;
use kd_ship::{Order, StudentKind, Teacher};
use kd_suite::NetworkFile;

use super::images::policy;
use super::setting::{Common, NamingArgs, NormalizeArgs, stop_flag};
use crate::exit;

/// Arguments of `kd ship`.
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("ship.txt"))]
pub(crate) struct Args {
    /// Folder with a folder of photographs for each class, or with `train` and `val` of them
    #[arg(value_name = "DIR")]
    images: PathBuf,
    /// The big network: an ONNX file, a checkpoint of kd's, or weights of --teacher-model
    #[arg(long, value_name = "PATH")]
    teacher: PathBuf,
    /// The network in it, such as efficientnet-lite0, where its weights are from elsewhere
    #[arg(long, value_name = "NAME")]
    teacher_model: Option<String>,
    #[command(flatten)]
    naming: NamingArgs,
    #[command(flatten)]
    normalize: NormalizeArgs,
    /// The teacher knows these classes already: it stays as it is
    #[arg(long)]
    tuned: bool,
    /// A student to try; several for a choice. shrink:2 is the teacher on images half as high and wide,
    /// cut:1/3 or cut:NODE its beginning, with at most such a share of its multiply-adds or up to a node
    /// that `kd cut` lists; shrink:2,cut:1/8 is both; the name of a network one that has learned nothing yet
    #[arg(long, value_name = "STUDENT", default_values = ["shrink:2", "shrink:3,cut:1/8"])]
    student: Vec<StudentKind>,
    /// How long it may take
    #[arg(long, value_name = "M", default_value_t = 30.0)]
    minutes: f64,
    /// Repetitions of the teacher's and the last training, the best of which is shipped
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Do not mirror training images: where left and right matter, as in writing
    #[arg(long)]
    no_flip: bool,
    /// What becomes of photographs that cannot be decoded; skipped and repaired ones are listed
    #[arg(long, value_parser = policy(), default_value = "error")]
    on_bad_image: OnBadImage,
    /// Folder of the results
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

/// Ships a student, or goes on where it was interrupted.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (order, stop) = (order(args)?, stop_flag()?);
    let card = exit::finished(args.common.install(|| kd_ship::ship(&order, &stop))?)?;
    let (lead, out) = (card.lead(), args.out.display());
    let text = format!("{lead}\ncard: {out}/card.md\nnetwork: {out}/model.onnx");
    exit::print_as(&card, args.common.json, text)
}

fn order(args: &Args) -> Result<Order> {
    let naming = args.naming.naming(Names::default());
    let network = NetworkFile::new(&args.teacher, args.teacher_model.as_deref(), naming)?;
    Ok(Order {
        images: args.images.clone(),
        on_bad_image: args.on_bad_image,
        teacher: Teacher { network, normalize: args.normalize.given(), is_tuned: args.tuned },
        students: args.student.clone(),
        minutes: args.minutes,
        seeds: args.seeds,
        flip: !args.no_flip,
        out: args.out.clone(),
    })
}
