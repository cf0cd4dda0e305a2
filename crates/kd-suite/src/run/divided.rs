//! Working off a run that is divided into tasks: here, or on all machines that share its folder.
//!
//! Key decision: a unit has records and a lease of its own, so that no two processes ever write one file. What
//! units need of each other they find in the folder, and whoever finds a unit done leaves it alone: any task can
//! be started again, anywhere, and as often as one likes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kd_core::record::Record;
use kd_core::{Error, Lease, Result, at_least_one, checkpoint, fsx};
use kd_train::{MetricsLog, Outcome};

use super::context::Context;
use super::eta;
use super::folder::lost;
use super::lockstep::in_lockstep;
use super::provenance::header;
use super::tasks::{Size, State, Task, Tasks, UnitPlan, seconds};
use super::unit::{Unit, parts};

/// Time between two looks at a unit that another process works on.
const LOOK: Duration = Duration::from_secs(1);

/// Divides the run into tasks of about this size, and keeps that in its folder; what is divided stays so.
///
/// # Errors
/// [`Error::Config`] when the run was begun undivided; those of the files.
pub(super) fn divide(context: &Context<'_>, size: Size) -> Result<Tasks> {
    if let Some(students) = size.students {
        at_least_one("students", students)?;
    }
    let at = context.folder.path();
    if let Some(tasks) = Tasks::read(at)? {
        return Ok(tasks);
    }
    if !context.folder.records()?.is_empty() {
        let reason = format!(
            "the run in {} was begun in one piece; let it end so, or begin it again with --restart",
            at.display()
        );
        return Err(Error::config("engine", reason));
    }
    let units = parts(context.spec, size.students);
    let estimated = eta::seconds(context, &units)?;
    let plan = |(place, (unit, seconds)): (usize, (&Unit<'_>, f64))| UnitPlan {
        name: format!("{place:04}-{}", unit.name()),
        needs: unit.needs(&units),
        seconds,
    };
    let plans = units.iter().zip(estimated).enumerate().map(plan).collect();
    let tasks = Tasks::of(&context.spec.suite, plans, size);
    tasks.write(at)?;
    Ok(tasks)
}

/// A run that is divided.
pub(super) struct Divided<'a> {
    pub(super) context: Context<'a>,
    pub(super) tasks: Tasks,
}

impl Divided<'_> {
    /// Does the task `number`; what fails does not keep its other units from being done.
    ///
    /// # Errors
    /// The first of its units'.
    pub(super) fn task(&self, number: usize) -> Result<Outcome> {
        let Task { units, .. } = self.tasks.task(number)?;
        if units.is_empty() {
            return self.together().map(|()| Outcome::Finished);
        }
        self.all(units.iter().copied())
    }

    /// Does every unit that is not done, one after another, and brings the records together.
    ///
    /// # Errors
    /// The first of the units'.
    pub(super) fn rest(&self) -> Result<Outcome> {
        let outcome = self.all(0..self.tasks.units.len());
        self.gather()?;
        outcome
    }

    fn all(&self, places: impl Iterator<Item = usize>) -> Result<Outcome> {
        let mut failure = None;
        for place in places {
            match self.unit(place) {
                Ok(Outcome::Interrupted) => return Ok(Outcome::Interrupted),
                Ok(Outcome::Finished) => {}
                Err(error) => {
                    eprintln!("{}: {error}", self.tasks.units[place].name);
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(Outcome::Finished), Err)
    }

    /// Does the unit at `place`, unless that is done; waits where another process does it.
    fn unit(&self, place: usize) -> Result<Outcome> {
        let (at, plan) = (self.context.folder.path(), &self.tasks.units[place]);
        let Some(_lease) = self.lease(plan)? else { return Ok(Outcome::Interrupted) };
        if plan.state(at)? == State::Done {
            return Ok(Outcome::Finished);
        }
        self.require(plan)?;
        fsx::remove_if_there(&plan.failure(at))?;
        let done = self.work(place, plan);
        if let Err(error) = &done {
            fsx::write_atomic(&plan.failure(at), error.to_string().as_bytes())?;
        }
        done
    }

    /// The lease of a unit, as soon as no other process has it; nothing where a signal ends the wait.
    fn lease(&self, plan: &UnitPlan) -> Result<Option<Lease>> {
        let mut has_told = false;
        while !self.context.setting.stop.load(Ordering::Relaxed) {
            match Lease::take(&plan.place(self.context.folder.path()), lost) {
                Err(Error::Busy { host, pid, .. }) => {
                    if !std::mem::replace(&mut has_told, true) {
                        eprintln!("{}: process {pid} on {host} is at it", plan.name);
                    }
                    std::thread::sleep(LOOK);
                }
                lease => return lease.map(Some),
            }
        }
        Ok(None)
    }

    /// Refuses a unit of which something that it needs is not done.
    fn require(&self, plan: &UnitPlan) -> Result<()> {
        for needed in plan.needs.iter().map(|&need| &self.tasks.units[need]) {
            let why = match needed.state(self.context.folder.path())? {
                State::Done => continue,
                State::Failed { reason } => format!("failed: {reason}"),
                State::Running { owner, .. } => format!("is still at work on {}", owner.host),
                State::Queued { .. } => "is not done".into(),
            };
            let reason = format!("{} needs {}, which {why}", plan.name, needed.name);
            return Err(Error::config("task", reason));
        }
        Ok(())
    }

    fn work(&self, place: usize, plan: &UnitPlan) -> Result<Outcome> {
        let folder = self.context.folder.of_unit(&plan.name);
        let context = Context { folder: &folder, ..self.context };
        let mut log = MetricsLog::open(&folder.metrics())?;
        let records = plan.records(folder.path())?;
        let mut units = parts(context.spec, self.tasks.size.students);
        let Unit { job, seed, students } = units.swap_remove(place);
        let done = job.run((&context, seed, students), &records, &mut log)?;
        let Some(wall_seconds) = done else {
            return Ok(Outcome::Interrupted);
        };
        checkpoint::remove(&folder.attack_state())?;
        log.append(&Record::Done { wall_seconds })?;
        log.sync()?;
        Ok(Outcome::Finished)
    }

    /// Brings the records together.
    ///
    /// # Errors
    /// [`Error::Config`] when units are not done; the records of the others are together then.
    fn together(&self) -> Result<()> {
        let open = self.gather()?;
        if open.is_empty() {
            return Ok(());
        }
        let reason = format!("not done: {}; start the run again", open.join(", "));
        Err(Error::config("task", reason))
    }

    /// Writes the records of all units that are done as the log of one process would have them; returns the
    /// names of the others.
    fn gather(&self) -> Result<Vec<String>> {
        let (mut all, mut open, mut wall_seconds) = (header(&self.context, &[]), vec![], 0.0);
        let (mut cohort, parts) = (vec![], parts(self.context.spec, self.tasks.size.students));
        for (unit, part) in self.tasks.units.iter().zip(&parts) {
            let mut records = unit.records(self.context.folder.path())?;
            match seconds(&records) {
                Some(own) => {
                    wall_seconds += own;
                    records.pop();
                    cohort.push(records);
                }
                None => open.push(unit.name.clone()),
            }
            if part.is_last() {
                all.extend(in_lockstep(std::mem::take(&mut cohort)));
            }
        }
        if open.is_empty() {
            all.push(Record::Done { wall_seconds });
        }
        MetricsLog::write(&self.context.folder.metrics(), &all)?;
        Ok(open)
    }
}

#[cfg(test)]
#[path = "divided_tests.rs"]
mod tests;
