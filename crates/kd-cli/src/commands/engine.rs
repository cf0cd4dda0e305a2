//! `kd run --engine`: a run divided into tasks, for machines that share a folder.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use kd_suite::{Size, Slurm, Spec, Tasks, commands, divide, run_task};
use kd_train::Outcome;

use super::run_args::RunArgs;
use crate::exit;

/// How a run is divided, and to whom it is handed.
#[derive(Debug, clap::Args)]
pub(super) struct EngineArgs {
    /// Divide the run into tasks and hand them to Slurm; list only prints a command for each
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// Do this task of a run that is divided, beside others
    #[arg(long, env = "KD_TASK", value_name = "N")]
    task: Option<usize>,
    /// Bundle what is shorter into tasks of about so many minutes
    #[arg(long, default_value_t = 10.0, requires = "engine", value_name = "M")]
    task_minutes: f64,
    /// Train so many students of a cohort at most in one task [default: all of it]
    #[arg(long, requires = "engine", value_name = "N")]
    students: Option<usize>,
    /// Slurm's partition
    #[arg(long, requires = "engine", value_name = "NAME")]
    partition: Option<String>,
    /// Time limit of a task, as Slurm writes it, such as 4:00:00; what takes longer goes on in another job
    #[arg(long, requires = "engine", value_name = "TIME")]
    time: Option<String>,
    /// Tasks that run at the same time at most
    #[arg(long, requires = "engine", value_name = "N")]
    max_jobs: Option<usize>,
    /// Another option of sbatch, such as --account=physics
    #[arg(long, requires = "engine", value_name = "OPTION", allow_hyphen_values = true)]
    sbatch: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Engine {
    Slurm,
    List,
}

impl EngineArgs {
    /// Whether the run is divided.
    pub(super) fn is_given(&self) -> bool {
        self.engine.is_some() || self.task.is_some()
    }

    /// Does a task of the run of `spec` in `out`, or hands all of them to the engine.
    pub(super) fn run(
        &self,
        spec: Spec,
        out: PathBuf,
        (how, has_data): (&RunArgs, bool),
    ) -> anyhow::Result<()> {
        let setting = how.setting(&spec, out, has_data)?;
        let common = &how.compute.common;
        if let Some(task) = self.task {
            let outcome = common.install(|| run_task(spec, &setting, task))?;
            return exit::finished((outcome != Outcome::Interrupted).then_some(()));
        }
        let size = Size { seconds: 60.0 * self.task_minutes, students: self.students };
        let tasks = common.install(|| divide(spec, &setting, size))?;
        match self.engine {
            Some(Engine::Slurm) => self.slurm(tasks, &setting.out, how),
            _ => {
                print!("{}", commands(&tasks, &setting.out, &own_command(&[])?)?);
                Ok(())
            }
        }
    }

    fn slurm(&self, mut tasks: Tasks, out: &Path, how: &RunArgs) -> anyhow::Result<()> {
        // Slurm gives a task the processors that are asked for: all of a machine's would be too many.
        let threads = how.compute.common.threads;
        let command = own_command(if threads.is_none() { &["--threads", "1"] } else { &[] })?;
        let slurm = Slurm {
            partition: self.partition.clone(),
            time: self.time.clone(),
            max_jobs: self.max_jobs,
            threads: threads.unwrap_or(1),
            options: self.sbatch.clone(),
        };
        let arrays = slurm.arrays(&tasks, out, &command)?;
        if how.dry_run {
            arrays.iter().for_each(|array| println!("{}", array.script));
            return Ok(());
        }
        let ids = slurm.submit(&mut tasks, out, &arrays)?;
        println!("jobs {}; kd status {} shows where they stand", ids.join(", "), out.display());
        Ok(())
    }
}

/// The command that this program was called by, for a shell.
fn own_command(more: &[&str]) -> anyhow::Result<String> {
    let program = std::env::current_exe()?.display().to_string();
    let words: Vec<String> = std::iter::once(program).chain(std::env::args().skip(1)).collect();
    Ok(shlex::try_join(words.iter().map(String::as_str).chain(more.iter().copied()))?)
}
