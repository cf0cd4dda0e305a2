//! From photographs to a shipped student, step by step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use candle_core::Device;
use kd_core::record::{self, FinalRecord, ModelId, Record};
use kd_core::{Classifier, Error, Net, Result};
use kd_report::{Card, Tried};
use kd_suite::weights::{self, Wanted};
use kd_suite::{Setting, Suite, checkpoint_of, resolve, run};
use kd_train::Outcome;
use serde::{Deserialize, Serialize};

use crate::Order;
use crate::choice::best;
use crate::folder::Folder;
use crate::images::{self, Images};
use crate::networks::{self, Start};
use crate::objectives::{self, LABELS};
use crate::pace::Pace;
use crate::schedule::{Schedule, Work};
use crate::suites::{self, Suites};
use crate::write::{Made, write};

/// What an order depends on, by which an interrupted shipment is told from another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    images: PathBuf,
    teacher: PathBuf,
    is_tuned: bool,
    students: Vec<String>,
    minutes: f64,
    seeds: u64,
    flip: bool,
}

/// A chosen model: where it is, and what held-out images say of it.
#[derive(Debug, Clone)]
struct Chosen {
    checkpoint: PathBuf,
    record: FinalRecord,
}

/// What goes through all steps.
struct Ship<'a> {
    order: &'a Order,
    folder: &'a Folder,
    stop: &'a Arc<AtomicBool>,
}

/// Divides the photographs where they are not divided, teaches the teacher these classes, tries students,
/// trains the chosen one, and writes it to [`Order::out`] with all that is to be known of it. An order
/// that was interrupted goes on where it was. Nothing when it is interrupted.
///
/// The images that judge the result are asked once, at the end; every choice is made by images set aside
/// from those to learn from.
///
/// # Errors
/// [`Error::Config`] for what can be no order, too few images or classes, a teacher that cannot be run,
/// and a folder that holds another order; those of images, files and trainings.
pub fn ship(order: &Order, stop: &Arc<AtomicBool>) -> Result<Option<Card>> {
    order.check()?;
    let folder = &Folder::open(&order.out)?;
    check_identity(order, folder)?;
    Ship { order, folder, stop }.run()
}

fn check_identity(order: &Order, folder: &Folder) -> Result<()> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(Error::io(path, "find"));
    let own = Identity {
        images: absolute(&order.images)?,
        teacher: absolute(&order.teacher.network.path)?,
        is_tuned: order.teacher.is_tuned,
        students: order.students.iter().map(crate::StudentKind::name).collect(),
        minutes: order.minutes,
        seeds: order.seeds,
        flip: order.flip,
    };
    let found = folder.once("order.toml", || Ok(own.clone()))?;
    if found == own {
        return Ok(());
    }
    let reason = format!(
        "{} holds another order, which its work/order.toml tells; choose another folder",
        order.out.display()
    );
    Err(Error::config("out", reason))
}

impl Ship<'_> {
    fn run(&self) -> Result<Option<Card>> {
        let Some(place) = images::place(self.order, self.folder, self.stop)? else {
            return Ok(None);
        };
        let raw = networks::teacher(&self.order.teacher)?;
        let images = Images::open(self.order, place, raw.graph().image_shape)?;
        let (start, head) = self.teacher_start(&raw, &images)?;
        let size = |kind| networks::multiply_adds(kind, &start.graph);
        let sizes = self.order.students.iter().map(size).collect::<Result<Vec<u64>>>()?;
        self.tell_images(&images);
        let schedule = self.schedule((&images, &raw), &start, &sizes)?;
        let normalize = raw.graph().normalization().cloned();
        let (order, teacher) = (self.order, &start.graph);
        let suites = Suites { order, images: &images, schedule, teacher, normalize };
        let teacher = match self.order.teacher.is_tuned {
            true => Some((self.folder.work("teacher.onnx"), BTreeMap::new())),
            false => self.tune(&suites, &start, &head)?,
        };
        let Some((teacher, teachers)) = teacher else { return Ok(None) };
        let network = self.load(&teacher)?;
        let students = self.students(&network)?;
        let Some((finals, chosen)) = self.choose(&suites, &students, &teacher)? else {
            return Ok(None);
        };
        let Some((last, shipped)) = self.last(&suites, &students, (&chosen, &finals), &teacher)?
        else {
            return Ok(None);
        };
        let tried = tried(&finals, &students, &chosen)?;
        let student = self.load(&shipped.checkpoint)?;
        let made = Made {
            order: self.order,
            images: &images,
            schedule,
            teacher: &network,
            student: &student,
            shipped: &shipped.record,
            last: &last,
            tried,
            teachers,
        };
        write(&made).map(Some)
    }

    fn tell_images(&self, images: &Images) {
        eprintln!(
            "{}: {} classes; {} images to learn from, {} to choose by, {} to judge by",
            images.words,
            images.train.n_classes(),
            images.train.len(),
            images.held_out.len(),
            images.judged.len()
        );
    }

    /// The teacher before its first step, or as it stays.
    fn teacher_start(&self, raw: &Net, images: &Images) -> Result<(Start, String)> {
        let n_classes = images.train.n_classes();
        if self.order.teacher.is_tuned && raw.n_classes() != n_classes {
            let reason = format!(
                "it tells {} classes apart, the images have {n_classes}; without --tuned it learns them",
                raw.n_classes()
            );
            return Err(Error::config("teacher", reason));
        }
        networks::with_head(raw, n_classes, self.folder)
    }

    /// The lengths of all trainings, found once; says how long they take.
    fn schedule(
        &self,
        (images, raw): (&Images, &Net),
        start: &Start,
        students: &[u64],
    ) -> Result<Schedule> {
        let seconds = 60.0 * self.order.minutes;
        let schedule = self.folder.once("schedule.toml", || {
            let pace = Pace::measure(raw, &images.train)?;
            let teacher = (!self.order.teacher.is_tuned).then_some(start);
            let (seeds, n_candidates) = (self.order.seeds, objectives::MOST);
            let work = Work { images, teacher, students, seeds, n_candidates };
            Schedule::of(&work, pace, seconds)
        })?;
        let over = if schedule.seconds > 1.05 * seconds { ", more than asked for" } else { "" };
        eprintln!(
            "about {}{over}: the teacher {} epochs, students {} to be tried and {} to be shipped",
            kd_report::duration(schedule.seconds),
            schedule.tune,
            schedule.try_out,
            schedule.last
        );
        Ok(schedule)
    }

    /// Trains the teacher; the best of its trainings and seeds, and by seed the accuracy of the best of its
    /// trainings on the images that judge.
    fn tune(
        &self,
        suites: &Suites<'_>,
        start: &Start,
        head: &str,
    ) -> Result<Option<(PathBuf, BTreeMap<u64, f64>)>> {
        let suite = suites.teacher(start, head);
        let Some((at, finals)) = self.run_suite(&suite, self.order.seeds)? else { return Ok(None) };
        let n_held_out = suites.images.held_out.len();
        let by_seed = (0..self.order.seeds).filter_map(|seed| {
            let of_seed = finals.iter().filter(|record| record.seed == seed);
            Some((seed, best(of_seed, n_held_out)?.last.top1))
        });
        let by_seed = by_seed.collect();
        Ok(Some((chosen(&at, best(&finals, n_held_out))?.checkpoint, by_seed)))
    }

    /// The students' networks.
    fn students(&self, teacher: &Net) -> Result<Vec<(String, Start)>> {
        let one = |kind: &crate::StudentKind| {
            Ok((kind.name(), networks::student(kind, teacher, self.folder)?))
        };
        self.order.students.iter().map(one).collect()
    }

    /// Tries all students; what came of each, and which it shall be.
    fn choose(
        &self,
        suites: &Suites<'_>,
        students: &[(String, Start)],
        teacher: &Path,
    ) -> Result<Option<(Vec<FinalRecord>, FinalRecord)>> {
        let suite = suites.candidates(students, teacher)?;
        let Some((_, finals)) = self.run_suite(&suite, 1)? else { return Ok(None) };
        let chosen = best(&finals, suites.images.held_out.len()).cloned().ok_or_else(nothing)?;
        eprintln!("chosen by held-out images: {}", chosen.id);
        Ok(Some((finals, chosen)))
    }

    /// Trains the chosen student with its objective, and beside it on labels alone; all records, and the
    /// model that is shipped.
    fn last(
        &self,
        suites: &Suites<'_>,
        students: &[(String, Start)],
        (chosen, finals): (&FinalRecord, &[FinalRecord]),
        teacher: &Path,
    ) -> Result<Option<(Vec<FinalRecord>, Chosen)>> {
        let n_held_out = suites.images.held_out.len();
        let network = students.iter().find(|(name, _)| *name == chosen.id.training);
        let network = network.ok_or_else(nothing)?;
        let taught = finals.iter().filter(|r| r.id.training == network.0 && r.id.model != LABELS);
        let taught = match &*chosen.id.model {
            LABELS => best(taught, n_held_out).ok_or_else(nothing)?,
            _ => chosen,
        };
        let suite = suites.last(network, &taught.id.model, teacher)?;
        let Some((at, last)) = self.run_suite(&suite, self.order.seeds)? else { return Ok(None) };
        let shipped = self::chosen(&at, best(&last, n_held_out))?;
        Ok(Some((last, shipped)))
    }

    /// Runs `suite` among what the shipment is made by, or goes on with it; its folder and what each of
    /// its models ended with.
    fn run_suite(&self, suite: &Suite, seeds: u64) -> Result<Option<(PathBuf, Vec<FinalRecord>)>> {
        suites::write(suite, &self.folder.work(&format!("{}.toml", suite.suite)))?;
        let spec = resolve(suite, "ship", false, seeds)?;
        let out = self.folder.work(&suite.suite);
        let setting = Setting { stop: self.stop.clone(), ..Setting::new(&out) };
        if run(spec, &setting)?.0 == Outcome::Interrupted {
            return Ok(None);
        }
        let records = record::read(&out.join("metrics.jsonl"))?;
        let finals = records.into_iter().filter_map(|record| match record {
            Record::Final(record) => Some(*record),
            _ => None,
        });
        Ok(Some((out, finals.collect())))
    }

    fn load(&self, path: &Path) -> Result<Net> {
        Ok(weights::load(path, &Wanted::default(), &Device::Cpu)?.network.fixed())
    }
}

fn nothing() -> Error {
    Error::config("student", "no training left a result; begin again with another folder")
}

fn chosen(run: &Path, record: Option<&FinalRecord>) -> Result<Chosen> {
    let record = record.cloned().ok_or_else(nothing)?;
    let checkpoint = checkpoint_of(run, &record.id, record.seed);
    Ok(Chosen { checkpoint, record })
}

/// What the card tells of the students that were tried.
fn tried(
    finals: &[FinalRecord],
    students: &[(String, Start)],
    chosen: &FinalRecord,
) -> Result<Vec<Tried>> {
    let one = |record: &FinalRecord| {
        let ModelId { training, model } = &record.id;
        let start = students.iter().find(|(name, _)| name == training).ok_or_else(nothing)?;
        Ok(Tried {
            network: training.clone(),
            objective: model.clone(),
            multiply_adds: start.1.multiply_adds()?,
            top1: record.holdout_top1.unwrap_or(f64::NAN),
            nll: record.holdout_nll.unwrap_or(f64::NAN),
            chosen: record.id == chosen.id,
        })
    };
    finals.iter().map(one).collect()
}
