//! What is the same of all that is run: seeds, folders, and what it computes on.

use std::path::PathBuf;
use std::sync::Arc;

use kd_core::Collective;
use kd_suite::weights::Contents;
use kd_suite::{Setting, Spec, contents, follow, run as run_spec};
use kd_train::Outcome;

use super::exchange;
use super::setting::{Compute, DataDir, stop_flag};
use crate::exit;

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
        Setting { data_dir, restart: self.restart, ..Setting::new(out) }
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
