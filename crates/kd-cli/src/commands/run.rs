//! `kd run`: a suite, from its file to its report.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Device;
use kd_core::{Collective, Single};
use kd_train::Outcome;

use super::exchange;
use super::setting::{Compute, DataDir, NamingArgs, NormalizeArgs, stop_flag};
use crate::exit;
use kd_suite::model;
use kd_suite::weights::Contents;
use kd_suite::{Holdout, Setting, Spec, Suite, contents, follow, resolve, run as run_spec};

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
    how: RunArgs,
}

/// What is the same of all that is run.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Repeat with so many seeds
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) seeds: u64,
    /// Only print what is in the files of weights that are named, and what would be loaded
    #[arg(long)]
    dry_run: bool,
    /// Remove what an earlier run left in that folder, and begin again
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    data: DataDir,
    #[command(flatten)]
    pub(super) compute: Compute,
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
    args.how.run(spec, out, !args.synthetic, Arc::new(Single))
}

impl RunArgs {
    /// Runs `spec` in the folder `out` and says how it ended; or only prints what is in the files of weights
    /// that it begins with, of which the first that cannot be loaded is the result. Of several processes the
    /// first one speaks.
    pub(super) fn run(
        &self,
        spec: Spec,
        out: PathBuf,
        has_data: bool,
        ranks: Arc<dyn Collective>,
    ) -> anyhow::Result<()> {
        let data_dir = has_data.then(|| self.data.path.clone());
        let (restart, device) = (self.restart, Device::Cpu);
        let mut setting = Setting { data_dir, out, restart, device, stop: Arc::default(), ranks };
        if self.dry_run {
            return show(self.compute.common.install(|| contents(&spec, &setting))?);
        }
        let compute = &self.compute;
        setting.device = if spec.has_attacks() { compute.cpu()? } else { compute.device()? };
        setting.stop = stop_flag()?;
        if setting.ranks.rank() > 0 {
            let outcome = compute.common.install(|| follow(spec, &setting))?;
            return exit::finished((outcome != Outcome::Interrupted).then_some(()));
        }
        let (outcome, report) = compute.common.install(|| run_spec(spec, &setting))?;
        exit::finished((outcome != Outcome::Interrupted).then_some(()))?;
        let (table, path) = (kd_report::results_table(&report), setting.out.join("report.html"));
        exit::print_as(
            &report,
            self.compute.common.json,
            format!("{table}\nreport: {}", path.display()),
        )
    }
}

fn show(all: Vec<(PathBuf, Contents)>) -> anyhow::Result<()> {
    let has_several = all.len() > 1;
    let shown = all.into_iter().map(|(path, contents)| {
        if has_several {
            println!("{}:", path.display());
        }
        exchange::show(&path, contents)
    });
    shown.fold(Ok(()), anyhow::Result::and)
}
