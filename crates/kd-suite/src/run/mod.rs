//! Running a resolved spec: folder, data, jobs, report.

mod choosing;
mod context;
mod difference;
mod eta;
mod finish;
mod first;
mod folder;
mod images;
mod job;
mod kept;
mod meeting;
mod progress;
mod setting;
mod teacher;
#[cfg(test)]
mod teaching_tests;
#[cfg(test)]
mod testing;
mod together;
mod training;
mod trial;
mod tuning;

use std::path::{Path, PathBuf};

use kd_core::record::{Record, RunRecord};
use kd_core::{Error, Result, checkpoint, fsx};
use kd_report::Report;
use kd_train::{MetricsLog, Outcome};

use crate::suite::Spec;
use crate::weights::Contents;
use context::Context;
pub(crate) use folder::Folder;
pub use folder::checkpoint as checkpoint_of;
pub(crate) use images::{Choice, Sets, without};
use job::Job;
pub use progress::Progress;
pub use setting::Setting;
use setting::device_name;
pub use together::follow;

/// Runs `spec` from where the results folder stands, and writes its report.
///
/// # Errors
/// Those of data, files and training; [`kd_core::Error::Config`] when the folder holds the run of
/// another spec.
pub fn run(spec: Spec, setting: &Setting) -> Result<(Outcome, Report)> {
    if let Some(about) = &spec.about {
        eprintln!("{} {}: {about}", spec.suite, spec.preset);
    }
    let sets = Sets::load(&spec, setting.data_dir.as_deref(), &setting.device)?;
    let spec = spec.with_channels(sets.shape().0[0]);
    let check = |training| training::check(training, &spec.normalize, &sets, setting);
    spec.training.iter().try_for_each(check)?;
    for section in &spec.questions.evaluation {
        sets.other(section, setting.data_dir.as_deref())?;
    }
    let spec = spec.with_files(&sets.files());
    let text = spec.to_toml()?;
    let spec_hash = fsx::sha256(text.as_bytes());
    if setting.restart {
        Folder::clear(&setting.out)?;
    }
    let folder = Folder::open(&setting.out, &text)?;
    let mut log = MetricsLog::open(&folder.metrics())?;
    let records = folder.records()?;
    let (spec, spec_hash) = (&spec, &*spec_hash);
    let context = Context { spec, sets: &sets, setting, folder: &folder, spec_hash };
    kept::check(&context, &records)?;
    let outcome = if matches!(records.last(), Some(Record::Done { .. })) {
        eprintln!("{}: finished before; the report is written anew", setting.out.display());
        meeting::pass(&context)?;
        Outcome::Finished
    } else {
        if records.is_empty() {
            log.append(&Record::Run(provenance(&context)))?;
            spec.readings.iter().try_for_each(|r| log.append(&Record::Readings(r.clone())))?;
        }
        eta::announce(&context, &records)?;
        work(&context, &records, &mut log)?
    };
    meeting::meet(&context, meeting::Place::End)?;
    let report = kd_report::write_report(&setting.out)?;
    Ok((outcome, report))
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

/// Does all jobs with each seed; `records` are those of earlier processes.
fn work(context: &Context<'_>, records: &[Record], log: &mut MetricsLog) -> Result<Outcome> {
    let mut wall_seconds = 0.0;
    for seed in 0..context.spec.seeds {
        for job in job::jobs(context.spec).iter().filter(|job| job.is_of(seed)) {
            let Some(seconds) = job.run((context, seed), records, log)? else {
                return Ok(Outcome::Interrupted);
            };
            wall_seconds += seconds;
            if seed == 0 && matches!(job, Job::Training(_)) {
                tell(context)?;
            }
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

fn provenance(context: &Context<'_>) -> RunRecord {
    let Context { spec, sets, setting, spec_hash, .. } = *context;
    RunRecord {
        suite: spec.suite.clone(),
        preset: spec.preset.clone(),
        synthetic: spec.data.as_dyn().is_synthetic(),
        reencoded: sets.are_reencoded(),
        class_names: sets.class_names().to_vec(),
        seeds: spec.seeds,
        device: device_name(&setting.device),
        cpu: cpu_name(),
        threads: rayon::current_num_threads(),
        spec_hash: spec_hash.into(),
        commit: env!("KD_COMMIT").into(),
        kd_version: env!("CARGO_PKG_VERSION").into(),
        candle_version: env!("CANDLE_VERSION").into(),
        data: sets.files(),
    }
}

/// The processor's name, where the system tells it.
fn cpu_name() -> String {
    let info = fsx::read_bounded(Path::new("/proc/cpuinfo"), 1 << 22, "").unwrap_or_default();
    let info = String::from_utf8_lossy(&info).into_owned();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or(std::env::consts::ARCH.into(), |(_, name)| name.trim().to_owned())
}
