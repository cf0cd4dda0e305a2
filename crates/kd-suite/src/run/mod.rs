//! Running a resolved spec: folder, data, jobs, report.

mod choosing;
mod context;
mod difference;
mod divided;
mod eta;
mod finish;
mod first;
mod folder;
mod images;
mod job;
mod kept;
mod lockstep;
mod meeting;
mod progress;
mod provenance;
mod ready;
mod setting;
mod tasks;
mod teacher;
#[cfg(test)]
mod teaching_tests;
#[cfg(test)]
mod testing;
mod together;
mod training;
mod trial;
mod tuning;
mod unit;

use std::path::PathBuf;

use kd_core::record::Record;
use kd_core::{Error, Result, checkpoint};
use kd_report::Report;
use kd_train::{MetricsLog, Outcome};

use crate::suite::Spec;
use crate::weights::Contents;
use context::Context;
use divided::Divided;
pub(crate) use folder::Folder;
pub use folder::checkpoint as checkpoint_of;
pub(crate) use images::{Choice, Sets, without};
use job::Job;
pub use progress::Progress;
use provenance::header;
use ready::Ready;
pub use setting::Setting;
pub use tasks::{Size, State, Submitted, Task, Tasks, UnitPlan};
pub use together::follow;
use unit::units;

/// Runs `spec` from where the results folder stands, and writes its report. One that was begun in one piece with fewer
/// seeds is brought to its end, and goes on with the others.
///
/// # Errors
/// Those of data, files and training; [`kd_core::Error::Config`] when the folder holds the run of
/// another spec.
pub fn run(spec: Spec, setting: &Setting) -> Result<(Outcome, Report)> {
    let ready = Ready::checked(spec, setting)?;
    if setting.restart {
        Folder::clear(&setting.out)?;
    }
    match Folder::fewer_seeds(&setting.out, &ready.text)? {
        Some(fewer) => with_more_seeds(ready, fewer, setting),
        None => go_on(&ready, setting),
    }
}

/// Brings the run to its end with `fewer` seeds, if it is not there, and then with all.
fn with_more_seeds(ready: Ready, fewer: u64, setting: &Setting) -> Result<(Outcome, Report)> {
    let is_finished = Folder::is_finished(&setting.out)?;
    if !is_finished && setting.ranks.n_ranks() > 1 {
        // The other processes begin with all seeds: the folder is refused.
        return go_on(&ready, setting);
    }
    let n_seeds = ready.n_seeds();
    let before = ready.with_seeds(fewer)?;
    if !is_finished {
        let (outcome, report) = go_on(&before, setting)?;
        if outcome == Outcome::Interrupted {
            return Ok((outcome, report));
        }
    }
    let ready = before.with_seeds(n_seeds)?;
    Folder::add_seeds(&setting.out, &ready.text)?;
    go_on(&ready, setting)
}

/// Brings the run to its end, and writes its report.
fn go_on(ready: &Ready, setting: &Setting) -> Result<(Outcome, Report)> {
    let folder = Folder::open(&setting.out, &ready.text)?;
    let context = ready.context(setting, &folder);
    let outcome = match Tasks::read(&setting.out)? {
        Some(tasks) => Divided { context, tasks }.rest()?,
        None => in_one_piece(&context)?,
    };
    meeting::meet(&context, meeting::Place::End)?;
    let report = kd_report::write_report(&setting.out)?;
    Ok((outcome, report))
}

/// Divides the run of `spec` into tasks of about this size, as its folder says from now on.
///
/// # Errors
/// As [`run`]; [`Error::Config`] when it was begun in one piece.
pub fn divide(spec: Spec, setting: &Setting, size: Size) -> Result<Tasks> {
    let ready = Ready::checked(spec, setting)?;
    if setting.restart {
        Folder::clear(&setting.out)?;
    }
    let folder = Folder::open(&setting.out, &ready.text)?;
    divided::divide(&ready.context(setting, &folder), size)
}

/// Does the task `number` of the run of `spec`, beside others; the last one writes the report.
///
/// # Errors
/// As [`run`]; [`Error::Config`] when the run is not divided, or a unit lacks what it needs.
pub fn run_task(spec: Spec, setting: &Setting, number: usize) -> Result<Outcome> {
    let ready = Ready::checked(spec, setting)?;
    let folder = Folder::join(&setting.out, &ready.text)?;
    let Some(tasks) = Tasks::read(&setting.out)? else {
        let reason = format!("the run in {} is not divided into tasks", setting.out.display());
        return Err(Error::config("task", reason));
    };
    let is_last = number + 1 == tasks.tasks.len();
    let done = Divided { context: ready.context(setting, &folder), tasks }.task(number);
    if is_last {
        kd_report::write_report(&setting.out)?;
    }
    done
}

/// What is in the files of weights that `spec` begins with, and what of each would be loaded.
///
/// # Errors
/// Those of data and files; [`kd_core::Error::Config`] for a spec that names no file.
pub fn contents(spec: &Spec, setting: &Setting) -> Result<Vec<(PathBuf, Contents)>> {
    let sets = Sets::load(spec, setting.data_dir.as_deref(), &setting.device)?;
    let spec = spec.clone().with_channels(sets.shape().0[0]);
    let mut all = Vec::new();
    for training in &spec.training {
        let mut contents = training::contents(training, &spec.normalize, &sets)?;
        if let Some((_, last)) = contents.last_mut().filter(|(_, last)| last.fault.is_none()) {
            last.fault = training::check(training, &spec.normalize, &sets, setting).err();
        }
        all.extend(contents);
    }
    match all.is_empty() {
        true => Err(Error::config("dry-run", "no file of weights is given: --teacher or --init")),
        false => Ok(all),
    }
}

/// Does one unit after another; where others did so before, from where they were interrupted.
fn in_one_piece(context: &Context<'_>) -> Result<Outcome> {
    let mut log = MetricsLog::open(&context.folder.metrics())?;
    let records = context.folder.records()?;
    kept::check(context, &records)?;
    let header = header(context, &records);
    if header.is_empty() && tasks::seconds(&records).is_some() {
        eprintln!("{}: finished before; the report is written anew", context.setting.out.display());
        meeting::pass(context)?;
        return Ok(Outcome::Finished);
    }
    header.iter().try_for_each(|record| log.append(record))?;
    eta::announce(context, &records)?;
    let mut wall_seconds = 0.0;
    for unit in units(context.spec) {
        let Some(seconds) = unit.job.run((context, unit.seed, None), &records, &mut log)? else {
            return Ok(Outcome::Interrupted);
        };
        wall_seconds += seconds;
        let is_training = matches!(unit.job, Job::Training(_));
        if unit.seed == 0 && is_training && !unit.is_done(&records) {
            tell(context)?;
        }
    }
    checkpoint::remove(&context.folder.attack_state())?;
    log.append(&Record::Done { wall_seconds })?;
    log.sync()?;
    Ok(Outcome::Finished)
}

/// Shows what is known of the first seed while the rest is still to come.
fn tell(context: &Context<'_>) -> Result<()> {
    let report = kd_report::write_report(&context.setting.out)?;
    let path = context.setting.out.join("report.html");
    eprintln!("so far, also in {}:\n{}", path.display(), kd_report::results_table(&report));
    Ok(())
}
