use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use candle_core::Tensor;
use kd_core::ops::OptimizerSpec;
use kd_core::record::{self, CurveRecord, EpochRecord, Record};
use kd_core::{Batch, BatchSource, Classifier, Error, Mode, Perturb, Stream};

use super::*;
use crate::choice::Keep;
use crate::evaluate::EvalSet;
use crate::losses::{Distill, LossSpec};
use crate::metrics_log::MetricsLog;
use crate::progress::Counters;
use crate::schedule::Schedule;
use crate::soft_targets::{SoftTargetStore, SoftTargets, StoredAs};
use crate::student::Student;
use crate::teacher::TeacherSource;
use crate::testing::{Dots, Network, weights};

/// Two epochs of eleven steps, a point of the learning curve after each 4.
fn plan() -> Plan {
    Plan {
        n_epochs: 2,
        batch_size: 4,
        learning_rate: 0.01,
        optimizer: OptimizerSpec::default(),
        schedule: Schedule::Exponential { gamma: 0.5 },
        eval_every: 1,
        eval_every_steps: Some(4),
        keep: Keep::Last,
        patience: None,
        shards: None,
    }
}

/// Eight epochs, the weights of the best of them, and no end before.
fn choosing() -> Plan {
    let schedule = Schedule::default();
    Plan { n_epochs: 8, learning_rate: 0.3, schedule, keep: Keep::BestHeldOut, ..plan() }
}

const N_IMAGES: usize = 43;

/// What a [`Probe`] does.
#[derive(Clone)]
enum Action {
    /// Sets the flag that stops the training.
    Stop(Arc<AtomicBool>),
    /// Fails, which ends the training without a checkpoint, as a kill does.
    Die,
}

/// Acts at the given step of this process, counted from 1.
struct Probe(AtomicU64, Action);

impl Perturb for Probe {
    fn perturb(&self, _: &dyn Classifier, batch: &Batch, _: Stream) -> Result<Tensor> {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            match &self.1 {
                Action::Stop(stop) => stop.store(true, Ordering::Relaxed),
                Action::Die => return Err(Error::config("probe", "the end")),
            }
        }
        Ok(batch.images.clone())
    }
}

/// A training of two students in a folder.
struct Lab<'a> {
    folder: &'a Path,
    plan: Plan,
    source: Dots,
    teacher: Network,
    identity: Option<&'static str>,
    targets: SoftTargets,
    probe: Option<(u64, Action)>,
    has_holdout: bool,
}

impl<'a> Lab<'a> {
    fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            plan: plan(),
            source: Dots::new(N_IMAGES),
            teacher: Network::new(9),
            identity: None,
            targets: SoftTargets::default(),
            probe: None,
            has_holdout: false,
        }
    }

    fn students(&self) -> Vec<Student> {
        let student = |name: &str, loss| {
            let model = Box::new(Network::new(1));
            Student::new(name, model, loss, OptimizerSpec::default())
        };
        let mut plain = student("plain", LossSpec::Labels(Default::default()));
        if let Some((at, action)) = &self.probe {
            plain.perturb = Some(Box::new(Probe(AtomicU64::new(*at), action.clone())));
        }
        vec![plain, student("distilled", LossSpec::Distill(Distill::default()))]
    }

    /// From the checkpoint, if there is one.
    fn train(&self, stop: &AtomicBool) -> Result<(Outcome, Cohort)> {
        let checkpoint = self.folder.join("state");
        let mut cohort = Cohort::new("lab", 1, self.students());
        let mut metrics = MetricsLog::open(&self.folder.join("metrics.jsonl"))?;
        let n_bytes = cohort.resume(&checkpoint, "spec", &candle_core::Device::Cpu)?;
        metrics.truncate(n_bytes.unwrap_or(0))?;
        let test = EvalSet::new(Arc::new(Dots::new(30)))?;
        let targets = self.targets;
        let holdout =
            self.has_holdout.then(|| EvalSet::new(Arc::new(Dots::new(17)))).transpose()?;
        let store = |identity| SoftTargetStore { targets, folder: self.folder, identity };
        let data = Data {
            train: &self.source,
            test: Some(&test),
            holdout: holdout.as_ref(),
            teacher: Some(TeacherSource::Network(&self.teacher)),
            soft_targets: self.identity.map(store),
        };
        let mut run = Run {
            metrics: &mut metrics,
            checkpoint: &checkpoint,
            spec_hash: "spec",
            checkpoint_every: Duration::MAX,
            checkpoint_within: Duration::ZERO,
            stop,
            counters: &Counters::default(),
        };
        let outcome = fit(&mut cohort, &self.plan, data, &mut run)?;
        Ok((outcome, cohort))
    }

    fn whole(&self) -> (Cohort, Vec<Record>) {
        let (outcome, cohort) = self.train(&AtomicBool::new(false)).unwrap();
        assert_eq!(outcome, Outcome::Finished);
        (cohort, self.records())
    }

    /// The records, without what the clock says.
    fn records(&self) -> Vec<Record> {
        let timeless = |record| match record {
            Record::Epoch(mut epoch) => {
                assert!(epoch.images_per_second.unwrap() > 0.0 && epoch.data_wait.unwrap() <= 1.0);
                (epoch.seconds, epoch.images_per_second, epoch.data_wait) = (0.0, None, None);
                Record::Epoch(epoch)
            }
            other => other,
        };
        let records = record::read(&self.folder.join("metrics.jsonl")).unwrap();
        records.into_iter().map(timeless).collect()
    }

    fn curve(&self, model: &str) -> Vec<CurveRecord> {
        let curve = |record| match record {
            Record::Curve(point) if point.id.model == model => Some(point),
            _ => None,
        };
        self.records().into_iter().filter_map(curve).collect()
    }

    fn epochs(&self) -> Vec<EpochRecord> {
        let epoch = |record| match record {
            Record::Epoch(epoch) => Some(epoch),
            _ => None,
        };
        self.records().into_iter().filter_map(epoch).collect()
    }
}

#[test]
fn a_curve_has_a_point_at_each_nth_step_and_at_the_end_of_each_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new(folder.path());
    lab.whole();
    let curve = lab.curve("plain");
    let at: Vec<_> = curve.iter().map(|p| (p.step, p.n_train)).collect();
    assert_eq!(at, [(4, 16), (8, 16), (11, 11), (15, 16), (19, 16), (22, 11)]);
    assert!(
        (curve[1].epoch - 8.0 / 11.0).abs() < 1e-12 && curve[5].epoch.to_bits() == 2f64.to_bits()
    );
    let epochs = lab.epochs();
    assert_eq!(epochs[0].test_top5, Some(curve[2].test_top5));
    assert_eq!(epochs[2].test_top1, Some(curve[5].test_top1));
    assert_eq!(epochs[2].test_nll, Some(curve[5].test_nll));
}

#[test]
fn training_figures_are_those_of_the_batches_since_the_last_point() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(folder.path());
    // So slow that the network stays what it is.
    lab.plan.learning_rate = 1e-30;
    lab.whole();
    let (model, order) = (Network::new(1), lab.source.order(1));
    // Of the second epoch, which begins with step 11, 16 images are seen until step 15.
    let batch = lab.source.batch(1, &order[..16]).unwrap();
    let logits = model.forward(&batch.images, Mode::Eval).unwrap().flatten_all().unwrap();
    let labels = batch.labels.to_vec1().unwrap();
    let want = crate::score(&logits.to_vec1().unwrap(), &labels, 6, None);
    let got = &lab.curve("plain")[3];
    assert_eq!(got.step, 15);
    let figures = [got.train_top1, got.train_top5].map(f64::to_bits);
    assert_eq!(figures, [want.top1, want.top5].map(f64::to_bits));
    assert!((got.train_loss - want.nll).abs() < 1e-6, "{} and {}", got.train_loss, want.nll);
}

#[test]
fn without_the_setting_there_is_no_curve_and_the_same_bits() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (with, mut without) = (Lab::new(folders[0].path()), Lab::new(folders[1].path()));
    without.plan.eval_every_steps = None;
    assert_eq!(weights(&with.whole().0), weights(&without.whole().0));
    assert!(without.curve("plain").is_empty());
    assert_eq!(with.epochs(), without.epochs());
}

#[test]
fn killed_or_stopped_within_an_epoch_and_resumed_the_result_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (cohort, records) = Lab::new(folder.path()).whole();
    let mut resumed_at = Vec::new();
    // Steps around points of the curve, groups of batches and ends of epochs.
    for (at, kill) in
        [(4, true), (6, true), (10, true), (17, true), (22, true), (6, false), (8, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let action = if kill { Action::Die } else { Action::Stop(stop.clone()) };
        let lab = Lab { probe: Some((at, action)), ..Lab::new(folder.path()) };
        assert_eq!(lab.train(&stop).is_err(), kill);
        let mut state = Cohort::new("lab", 1, lab.students());
        let path = folder.path().join("state");
        state.resume(&path, "spec", &candle_core::Device::Cpu).unwrap();
        resumed_at.push(state.steps_done(11));
        let (again, again_records) = Lab::new(folder.path()).whole();
        assert_eq!(weights(&again), weights(&cohort), "step {at}");
        assert_eq!(again_records, records, "step {at}");
    }
    // A checkpoint follows each group of four steps but the one that ends an epoch.
    assert_eq!(resumed_at, [0, 4, 8, 15, 19, 6, 8]);
}

#[test]
fn images_that_cannot_be_read_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::new(folder.path());
    // The second batch of the first epoch, and one image of the third.
    lab.source.bad = lab.source.order(0)[4..9].to_vec();
    let (cohort, _) = lab.whole();
    let curve = lab.curve("distilled");
    assert_eq!((curve[0].step, curve[0].n_train), (4, 11));
    assert_eq!(cohort.teacher_rows(), (76, 76));
    assert!(curve.iter().all(|point| point.train_loss.is_finite()));
}

#[test]
fn a_file_of_soft_targets_saves_the_teacher_and_with_all_classes_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Lab::new(folder.path()).whole();
    let with_file = |probe, n_epochs| {
        std::fs::remove_dir_all(folder.path().join("state")).unwrap();
        let plan = Plan { n_epochs, ..plan() };
        let lab = Lab { plan, identity: Some("dots"), probe, ..Lab::new(folder.path()) };
        let ended = lab.train(&AtomicBool::new(false));
        (ended.map(|(_, cohort)| cohort), lab.teacher.n_seen() as u64)
    };
    // The first one dies within its second epoch.
    let (died, n_first) = with_file(Some((15, Action::Die)), 2);
    assert!(died.is_err());
    let (second, n_second) = with_file(None, 2);
    let second = second.unwrap();
    assert_eq!(weights(&second), weights(&plain.0));
    assert_eq!((n_first + n_second, second.teacher_rows()), (86, (86, n_second)));
    let (third, n_third) = with_file(None, 2);
    assert_eq!((n_third, third.unwrap().teacher_rows()), (0, (86, 0)));
    // The fourth epoch shows the versions of the first one.
    let (fourth, n_fourth) = with_file(None, 4);
    assert_eq!((n_fourth, fourth.unwrap().teacher_rows()), (43, (172, 43)));
}

#[test]
fn what_is_kept_in_short_teaches_nearly_the_same_computed_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let whole = |targets, identity| {
        let lab = Lab { targets, identity, ..Lab::new(folder.path()) };
        let (cohort, _) = lab.whole();
        std::fs::remove_dir_all(folder.path().join("state")).unwrap();
        (weights(&cohort), lab.teacher.n_seen())
    };
    let (plain, _) = whole(SoftTargets::default(), None);
    let two = SoftTargets { top_k: Some(2), ..SoftTargets::default() };
    let bytes = SoftTargets { top_k: None, stored_as: StoredAs::EightBit };
    for targets in [two, bytes] {
        let (first, n_first) = whole(targets, Some("dots"));
        let (second, n_second) = whole(targets, Some("dots"));
        assert_eq!((first == second, n_first, n_second), (true, 86, 0), "{targets:?}");
        assert_eq!(first[0], plain[0], "the other student has no teacher");
        assert_ne!(first[1], plain[1]);
    }
}

#[test]
fn the_weights_that_are_kept_are_those_of_the_epoch_that_held_out_images_choose() {
    let folder = tempfile::tempdir().unwrap();
    let (cohort, _) =
        Lab { plan: choosing(), has_holdout: true, ..Lab::new(folder.path()) }.whole();
    let chosen: Vec<u64> = cohort.students.iter().map(|s| s.chosen_epoch().unwrap()).collect();
    assert!(chosen.iter().any(|epoch| *epoch < 8), "one of them is not the last: {chosen:?}");
    for (i, n_epochs) in chosen.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan { n_epochs, keep: Keep::Last, ..choosing() };
        let (shorter, _) = Lab { plan, ..Lab::new(folder.path()) }.whole();
        assert_eq!(weights(&cohort)[i], weights(&shorter)[i]);
        assert_eq!(shorter.students[i].chosen_epoch(), None);
    }
}

#[test]
fn a_choice_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan { patience: Some(2), ..choosing() };
    let lab = Lab { plan: plan.clone(), has_holdout: true, ..Lab::new(folder.path()) };
    let (cohort, records) = lab.whole();
    for at in [13, 20, 25, 31] {
        let folder = tempfile::tempdir().unwrap();
        let lab =
            |probe| Lab { probe, plan: plan.clone(), has_holdout: true, ..Lab::new(folder.path()) };
        // A student that has stopped is not killed.
        let _ = lab(Some((at, Action::Die))).train(&AtomicBool::new(false));
        let (again, again_records) = lab(None).whole();
        assert_eq!(weights(&again), weights(&cohort), "step {at}");
        assert_eq!(again_records, records, "step {at}");
    }
}

#[test]
fn a_student_stops_when_nothing_gets_better() {
    let folder = tempfile::tempdir().unwrap();
    // So slow that the network stays what it is.
    let plan = Plan { learning_rate: 1e-30, patience: Some(2), ..choosing() };
    let lab = Lab { plan, has_holdout: true, ..Lab::new(folder.path()) };
    let (cohort, _) = lab.whole();
    assert_eq!(cohort.place(), (3, 0), "the first epoch, and two more");
    assert_eq!(lab.epochs().len(), 6);
    assert_eq!(cohort.students[0].chosen_epoch(), Some(1));
}

#[test]
fn a_choice_needs_held_out_images() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab { plan: choosing(), ..Lab::new(folder.path()) };
    let error = lab.train(&AtomicBool::new(false)).err().unwrap();
    assert!(matches!(&error, Error::Config { field, .. } if field == "holdout"), "{error}");
}
