//! `kd run`: a suite, from its file to its report.

use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::Device;
use kd_train::Outcome;

use super::exchange;
use super::setting::{Compute, DataDir, NamingArgs, NormalizeArgs, stop_flag};
use crate::exit;
use kd_suite::model;
use kd_suite::{Holdout, Setting, Spec, Suite, contents, resolve, run as run_spec};

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
    /// Repeat with so many seeds
    #[arg(long, default_value_t = 1, value_name = "N")]
    seeds: u64,
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
    /// Only print what is in the files of weights that the suite and --teacher name
    #[arg(long)]
    dry_run: bool,
    /// Folder of the results [default: runs/SUITE-PRESET]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Remove what an earlier run left in that folder, and begin again
    #[arg(long)]
    restart: bool,
    /// Print report.json to stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    compute: Compute,
}

/// Runs the suite, or goes on with it where it was interrupted.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut suite = Suite::read(&args.suite)?;
    suite.holdout = args.holdout.unwrap_or(suite.holdout);
    suite.exact_conv |= args.compute.exact_conv;
    suite.normalize = args.normalize.given().or(suite.normalize);
    let naming = args.naming.of_teacher(args.teacher.as_deref())?;
    if let Some(weights) = &args.teacher {
        let model = args.teacher_model.as_deref().map(model).transpose()?;
        suite = suite.with_teacher(weights, model.as_ref(), &naming)?;
    }
    let spec = resolve(&suite, &args.preset, args.synthetic, args.seeds)?;
    if args.synthetic {
        eprintln!("SYNTHETIC data: the report will carry no verdict against the paper");
    }
    let out = args.out.clone();
    let out = out.unwrap_or_else(|| format!("runs/{}-{}", suite.suite, args.preset).into());
    let data_dir = (!args.synthetic).then(|| args.data.path());
    if args.dry_run {
        return show(&spec, data_dir, &args.compute);
    }
    let places = (data_dir, out, args.restart);
    execute(spec, places, &args.compute, args.json)
}

/// Prints what is in the files of weights that `spec` begins with; the first that cannot be loaded is the
/// result.
pub(super) fn show(
    spec: &Spec,
    data_dir: Option<PathBuf>,
    compute: &Compute,
) -> anyhow::Result<ExitCode> {
    let (out, stop) = (PathBuf::new(), Default::default());
    let setting = Setting { data_dir, out, restart: false, device: Device::Cpu, stop };
    let all = compute.threads.install(|| Ok(contents(spec, &setting)?))?;
    let has_several = all.len() > 1;
    let shown = all.into_iter().map(|(path, contents)| {
        if has_several {
            println!("{}:", path.display());
        }
        exchange::show(&path, contents)
    });
    let shown: Vec<_> = shown.collect();
    shown.into_iter().find(Result::is_err).unwrap_or(Ok(ExitCode::SUCCESS))
}

/// Runs `spec` and says how it ended.
pub(super) fn execute(
    spec: Spec,
    (data_dir, out, restart): (Option<PathBuf>, PathBuf, bool),
    compute: &Compute,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let device = if spec.has_attacks() { compute.cpu()? } else { compute.device()? };
    let setting = Setting { data_dir, out, restart, device, stop: stop_flag()? };
    let (outcome, report) = compute.threads.install(|| Ok(run_spec(spec, &setting)?))?;
    if outcome == Outcome::Interrupted {
        return Ok(exit::interrupted());
    }
    super::report::print(&report, json)?;
    if !json {
        println!("report: {}", setting.out.join("report.html").display());
    }
    Ok(ExitCode::SUCCESS)
}
