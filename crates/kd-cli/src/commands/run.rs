//! `kd run`: a suite, from its file to its report.

use std::path::PathBuf;

use kd_suite::{Holdout, Suite, model, resolve};

use super::engine::EngineArgs;
use super::run_args::RunArgs;
use super::setting::{NamingArgs, NormalizeArgs};

/// Arguments of `kd run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The suite file
    suite: PathBuf,
    /// smoke, quick, paper, or another preset of the suite
    #[arg(long, default_value = "quick")]
    preset: String,
    /// Use the suite's synthetic data; they carry no verdict
    #[arg(long)]
    synthetic: bool,
    /// Set aside so many training images, or such a share of each class, in place of the suite's
    #[arg(long, value_name = "N")]
    holdout: Option<Holdout>,
    /// Weights of a teacher, which is then not trained
    #[arg(long, value_name = "PATH")]
    teacher: Option<PathBuf>,
    /// The network in it, such as resnet56, where the weights are from elsewhere
    #[arg(long, value_name = "NAME", requires = "teacher")]
    teacher_model: Option<String>,
    #[command(flatten)]
    naming: NamingArgs,
    #[command(flatten)]
    normalize: NormalizeArgs,
    /// Folder of the results [default: runs/SUITE-PRESET]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    how: RunArgs,
}

/// Runs the suite, or goes on with it where it was interrupted.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut suite = Suite::read(&args.suite)?;
    suite.holdout = args.holdout.unwrap_or(suite.holdout);
    suite.exact_conv |= args.how.compute.exact_conv;
    suite.normalize = args.normalize.given().or(suite.normalize);
    let naming = args.naming.of_teacher(args.teacher.as_deref())?;
    if let Some(weights) = &args.teacher {
        let model = args.teacher_model.as_deref().map(model).transpose()?;
        suite = suite.with_teacher(weights, model.as_ref(), &naming)?;
    }
    let spec = resolve(&suite, &args.preset, args.synthetic, args.how.seeds)?;
    if args.synthetic {
        eprintln!("SYNTHETIC data: the report will carry no verdict against the paper");
    }
    let out = args.out.clone();
    let out = out.unwrap_or_else(|| format!("runs/{}-{}", suite.suite, args.preset).into());
    match args.engine.is_given() {
        true => args.engine.run(spec, out, (&args.how, !args.synthetic)),
        false => args.how.run(spec, out, !args.synthetic),
    }
}
