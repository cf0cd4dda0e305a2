//! `kd run`: a suite, from its file to its report.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::Device;
use kd_core::{Collective, Single};
use kd_train::Outcome;

use super::engine::EngineArgs;
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
    engine: EngineArgs,
    #[command(flatten)]
    how: RunArgs,
}

/// What is the same of all that is run.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Repeat with so many seeds
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) seeds: u64,
    /// Only print what is in the files of weights that are named, and what would be loaded; with an engine,
    /// what it would be given
    #[arg(long)]
    pub(super) dry_run: bool,
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
    match args.engine.is_given() {
        true => args.engine.run(spec, out, (&args.how, !args.synthetic)),
        false => args.how.run(spec, out, !args.synthetic),
    }
}

impl RunArgs {
    /// Runs `spec` in the folder `out` and says how it ended; or only prints what is in the files of weights
    /// that it begins with, of which the first that cannot be loaded is the result.
    pub(super) fn run(&self, spec: Spec, out: PathBuf, has_data: bool) -> anyhow::Result<()> {
        if self.dry_run {
            let setting = self.unopened(out, has_data);
            return show(self.compute.common.install(|| contents(&spec, &setting))?);
        }
        let setting = self.setting(&spec, out, has_data)?;
        self.finish(spec, &setting)
    }

    /// The same as one of `ranks`, of which the first one speaks.
    pub(super) fn run_together(
        &self,
        spec: Spec,
        out: PathBuf,
        ranks: Arc<dyn Collective>,
    ) -> anyhow::Result<()> {
        if self.dry_run {
            return self.run(spec, out, true);
        }
        let setting = Setting { ranks, ..self.setting(&spec, out, true)? };
        if setting.ranks.rank() == 0 {
            return self.finish(spec, &setting);
        }
        let outcome = self.compute.common.install(|| follow(spec, &setting))?;
        exit::finished((outcome != Outcome::Interrupted).then_some(()))
    }

    fn finish(&self, spec: Spec, setting: &Setting) -> anyhow::Result<()> {
        let (outcome, report) = self.compute.common.install(|| run_spec(spec, setting))?;
        exit::finished((outcome != Outcome::Interrupted).then_some(()))?;
        let (table, path) = (kd_report::results_table(&report), setting.out.join("report.html"));
        exit::print_as(
            &report,
            self.compute.common.json,
            format!("{table}\nreport: {}", path.display()),
        )
    }

    /// Where `spec` is run, and on what.
    pub(super) fn setting(
        &self,
        spec: &Spec,
        out: PathBuf,
        has_data: bool,
    ) -> anyhow::Result<Setting> {
        let compute = &self.compute;
        let device = if spec.has_attacks() { compute.cpu()? } else { compute.device()? };
        Ok(Setting { device, stop: stop_flag()?, ..self.unopened(out, has_data) })
    }

    fn unopened(&self, out: PathBuf, has_data: bool) -> Setting {
        let data_dir = has_data.then(|| self.data.path.clone());
        let (restart, device, ranks) = (self.restart, Device::Cpu, Arc::new(Single));
        Setting { data_dir, out, restart, device, stop: Arc::default(), ranks }
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
