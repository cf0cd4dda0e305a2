//! Slurm: the tasks of a run as arrays of jobs, a stage after the other.
//!
//! Key decision: a stage begins when the one before has ended, however that went. A task whose units lack what
//! they need says so and fails at once, and all others go on; with Slurm's `afterok` one failure would keep a
//! whole stage in the queue for ever.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use kd_core::{Error, Lease, Result, fsx};

use super::open_tasks;
use crate::run::{Submitted, Tasks};

/// Slurm's own limit of an array's numbers, where it does not tell.
const MAX_ARRAY_SIZE: usize = 1001;
/// Seconds before the end of its time in which a task keeps its state, to go on in another job.
const LAST_SECONDS: u32 = 120;

/// What Slurm is asked for.
#[derive(Debug, Clone, Default)]
pub struct Slurm {
    /// Partition; Slurm's own choice where there is none.
    pub partition: Option<String>,
    /// Time limit of a task in Slurm's words, such as `1:00:00`; a task that takes longer goes on in another job.
    pub time: Option<String>,
    /// Tasks that run at the same time at most.
    pub max_jobs: Option<usize>,
    /// Processors of a task.
    pub threads: usize,
    /// Other options of sbatch, such as `--account=physics`.
    pub options: Vec<String>,
}

/// Tasks of one stage that are one array of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// The places of the tasks.
    pub tasks: Vec<usize>,
    /// What sbatch is given.
    pub script: String,
    stage: usize,
}

impl Slurm {
    /// The arrays for what is not done of the run in `folder`, each task of which is done by `command` in this
    /// working directory, in the order in which they are submitted.
    ///
    /// # Errors
    /// Those of the files.
    pub fn arrays(&self, tasks: &Tasks, folder: &Path, command: &str) -> Result<Vec<Array>> {
        let size = max_array_size();
        let mut arrays: Vec<Array> = Vec::new();
        for place in open_tasks(tasks, folder)? {
            let stage = tasks.tasks[place].stage;
            match arrays.last_mut() {
                Some(last) if last.stage == stage && place - last.tasks[0] < size => {
                    last.tasks.push(place)
                }
                _ => arrays.push(Array { tasks: vec![place], script: String::new(), stage }),
            }
        }
        let here = std::env::current_dir().map_err(Error::io(".", "find"))?;
        let folder = std::path::absolute(folder).map_err(Error::io(folder, "find"))?;
        for array in &mut arrays {
            let name = format!("kd-{}-{}", tasks.suite, array.stage);
            array.script = self.script(array, (&name, command), (&here, &folder));
        }
        Ok(arrays)
    }

    /// Hands `arrays` to Slurm, each after those of the stage before; returns what it calls them.
    ///
    /// # Errors
    /// [`Error::Config`] with Slurm's words when it refuses, and when jobs of an earlier call are in its queue;
    /// [`Error::Missing`] when there is no Slurm.
    pub fn submit(
        &self,
        tasks: &mut Tasks,
        folder: &Path,
        arrays: &[Array],
    ) -> Result<Vec<String>> {
        let _lease = Lease::take(&folder.join("submission"), || ())?;
        refuse_queued(tasks)?;
        fsx::create_folder(&folder.join("slurm"))?;
        tasks.submitted.clear();
        let mut stages: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for array in arrays {
            let before = stages.range(..array.stage).next_back();
            let id = sbatch(before.map_or(&[], |(_, ids)| ids), &array.script)?;
            stages.entry(array.stage).or_default().push(id.clone());
            let (first, tasks_of) = (array.tasks[0], array.tasks.clone());
            tasks.submitted.push(Submitted { id, tasks: tasks_of, first });
            tasks.write(folder)?;
        }
        Ok(stages.into_values().flatten().collect())
    }

    fn script(
        &self,
        array: &Array,
        (name, command): (&str, &str),
        (here, folder): (&Path, &Path),
    ) -> String {
        let first = array.tasks[0];
        let most = self.max_jobs.map_or(String::new(), |n| format!("%{n}"));
        let mut options = vec![
            format!("--job-name={name}"),
            format!("--array={}{most}", ranges(array.tasks.iter().map(|task| task - first))),
            format!("--chdir={}", here.display()),
            format!("--output={}/slurm/%A_%a.log", folder.display()),
            "--open-mode=append".into(),
            "--requeue".into(),
            format!("--signal=B:USR1@{LAST_SECONDS}"),
            format!("--cpus-per-task={}", self.threads),
        ];
        options.extend(self.partition.iter().map(|partition| format!("--partition={partition}")));
        options.extend(self.time.iter().map(|time| format!("--time={time}")));
        options.extend(self.options.iter().cloned());
        let options = options.iter().map(|option| format!("#SBATCH {option}\n"));
        let script = include_str!("task.sh").replace("@options@\n", &options.collect::<String>());
        script.replace("@first@", &first.to_string()).replace("@command@", command)
    }
}

/// Numbers that rise, as an array's: `0-3,7`.
fn ranges(numbers: impl Iterator<Item = usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let words = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(",")
}

fn max_array_size() -> usize {
    let config = output(Command::new("scontrol").args(["show", "config"])).unwrap_or_default();
    let line = config.lines().find_map(|line| line.strip_prefix("MaxArraySize")?.split_once('='));
    line.and_then(|(_, size)| size.trim().parse().ok()).unwrap_or(MAX_ARRAY_SIZE).max(1)
}

/// Submits `script`, to run after the jobs `before`; returns Slurm's number for it.
fn sbatch(before: &[String], script: &str) -> Result<String> {
    let mut command = Command::new("sbatch");
    command.arg("--parsable").stdin(Stdio::piped()).stdout(Stdio::piped());
    if !before.is_empty() {
        command.arg(format!("--dependency=afterany:{}", before.join(":")));
        command.env("KD_AFTER", before.join("\\|"));
    }
    let failed = Error::io("sbatch", "run");
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(|e| missing("sbatch", e))?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if !output.status.success() {
        return Err(Error::config("engine", format!("sbatch refused a stage: {words}")));
    }
    written.transpose().map_err(Error::io("sbatch", "write"))?;
    let id = String::from_utf8_lossy(&output.stdout);
    // With several clusters the name of one stands behind the number.
    Ok(id.trim().split(';').next().unwrap_or_default().to_owned())
}

/// Refuses a second submission while jobs of the first are in the queue.
fn refuse_queued(tasks: &Tasks) -> Result<()> {
    let queued = queue()?;
    let is_queued = |one: &&Submitted| queued.keys().any(|(id, _)| *id == one.id);
    let ids: Vec<&str> = tasks.submitted.iter().filter(is_queued).map(|one| &*one.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let ids = ids.join(" ");
    let reason = format!(
        "jobs of this run are in the queue: {ids}; `kd status` shows them, `scancel {ids}` takes them out"
    );
    Err(Error::config("engine", reason))
}

/// What Slurm says of the tasks that it has not done: its state, and why it waits, by array and number.
///
/// # Errors
/// [`Error::Missing`] when there is no Slurm; [`Error::Config`] with its words when it does not answer.
pub(super) fn queue() -> Result<BTreeMap<(String, usize), String>> {
    let text = output(Command::new("squeue").args([
        "--me",
        "--noheader",
        "--array",
        "--format=%F|%K|%T|%r",
    ]))?;
    let job = |line: &str| {
        let mut fields = line.trim().split('|');
        let (id, number) = (fields.next()?.to_owned(), fields.next()?.parse().ok()?);
        let (state, why) = (fields.next()?.to_lowercase(), fields.next()?);
        let words = if why == "None" { state } else { format!("{state}: {why}") };
        Some(((id, number), words))
    };
    Ok(text.lines().filter_map(job).collect())
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| missing(&name, e))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(Error::config("engine", format!("{name}: {}", words.trim())))
        }
    }
}

fn missing(program: &str, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::NotFound => {
            Error::Missing { path: program.into(), hint: "it belongs to Slurm".into() }
        }
        _ => Error::io(program, "run")(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Size, Task, UnitPlan};

    fn tasks(stages: &[usize]) -> Tasks {
        let unit = |(i, _)| UnitPlan { name: format!("{i:04}"), needs: vec![], seconds: 1.0 };
        let units: Vec<UnitPlan> = stages.iter().enumerate().map(unit).collect();
        let task = |(i, &stage)| Task { stage, units: vec![i] };
        let mut tasks: Vec<Task> = stages.iter().enumerate().map(task).collect();
        tasks.push(Task { stage: 9, units: vec![] });
        Tasks { suite: "tiny".into(), size: Size::default(), units, tasks, submitted: vec![] }
    }

    #[test]
    fn numbers_are_written_as_ranges() {
        assert_eq!(ranges([0, 1, 2, 5, 7, 8].into_iter()), "0-2,5,7-8");
        assert_eq!(ranges([4].into_iter()), "4");
    }

    #[test]
    fn a_stage_is_an_array_and_its_script_says_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let slurm = Slurm {
            partition: Some("long".into()),
            time: Some("1:00:00".into()),
            max_jobs: Some(8),
            threads: 2,
            options: vec!["--account=physics".into()],
        };
        let tasks = tasks(&[0, 0, 1]);
        let arrays = slurm.arrays(&tasks, folder.path(), "kd run 'my suite.toml'").unwrap();
        let listed: Vec<_> = arrays.iter().map(|array| &array.tasks[..]).collect();
        assert_eq!(listed, [&[0, 1][..], &[2], &[3]]);
        for line in [
            "#SBATCH --array=0-1%8",
            "#SBATCH --cpus-per-task=2",
            "#SBATCH --partition=long",
            "#SBATCH --time=1:00:00",
            "#SBATCH --account=physics",
            "#SBATCH --job-name=kd-tiny-0",
            "KD_TASK=$((0 + SLURM_ARRAY_TASK_ID)) kd run 'my suite.toml' &",
        ] {
            assert!(arrays[0].script.lines().any(|found| found == line), "{line}");
        }
        assert!(arrays[1].script.contains("KD_TASK=$((2 + SLURM_ARRAY_TASK_ID))"));
        assert!(arrays[1].script.contains("--array=0%8"));
    }

    #[test]
    fn arrays_are_no_larger_than_slurm_takes() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = tasks(&[0; 2500]);
        let arrays = Slurm::default().arrays(&tasks, folder.path(), "kd").unwrap();
        let sizes: Vec<usize> = arrays.iter().map(|array| array.tasks.len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 2501);
        let size = max_array_size();
        assert!(sizes.iter().all(|&n| n <= size), "{sizes:?}");
    }
}
