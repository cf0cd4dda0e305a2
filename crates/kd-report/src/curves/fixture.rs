//! Made-up runs with curves, for tests.

use kd_core::record::{
    BadImagesRecord, CurveRecord, EpochRecord, Evaluation, FinalRecord, ModelId, Objective, Record,
    RunRecord, SoftTargetsRecord, TeacherRecord, Trained,
};

use crate::fixture::distill;

/// A point of nobody's curve.
pub(super) fn point(seed: u64, step: u64, epoch: f64) -> CurveRecord {
    CurveRecord { seed, step, epoch, n_train: 100, ..CurveRecord::default() }
}

/// What is special about a made-up run of the suite `imagenet`.
pub(super) struct Made {
    pub(super) seeds: u64,
    pub(super) synthetic: bool,
    /// Top-1 errors at the end of the students at T 10, at T 0.5 and without a teacher.
    pub(super) errors: [f64; 3],
    pub(super) n_epochs: u64,
    pub(super) points_per_epoch: u64,
}

impl Default for Made {
    /// In the paper's order, as far apart as 50,000 images tell.
    fn default() -> Self {
        let errors = [0.30, 0.32, 0.34];
        Self { seeds: 1, synthetic: false, errors, n_epochs: 12, points_per_epoch: 4 }
    }
}

pub(super) const N_TRAIN: usize = 1_281_167;
pub(super) const N_TEST: usize = 50_000;

/// The records of `made`, in the shape that `kd run` leaves.
pub(super) fn records(made: &Made) -> Vec<Record> {
    let mut records = vec![Record::Run(RunRecord {
        suite: "imagenet".into(),
        preset: "paper".into(),
        synthetic: made.synthetic,
        seeds: made.seeds,
        device: "cuda:0".into(),
        cpu: "Made-up CPU @ 2.00GHz".into(),
        ..RunRecord::default()
    })];
    for seed in 0..made.seeds {
        for student in students(made) {
            records.extend(student.records(seed, made));
        }
        records.extend(of_training(seed));
    }
    records.push(Record::Done { wall_seconds: 400_000.0 });
    records
}

/// What is recorded once for all students of a training.
fn of_training(seed: u64) -> [Record; 3] {
    let training = || "resnet18".to_owned();
    let reason = |i: usize| [format!("n01440764/{i:02}.JPEG"), "cut off at byte 4711".to_owned()];
    let last = evaluation(0.2387, 0.0714);
    let (asked, computed) = (12 * N_TRAIN as u64, 4 * N_TRAIN as u64);
    [
        Record::Teacher(TeacherRecord {
            seed,
            training: training(),
            network: "resnet50".into(),
            last,
        }),
        Record::BadImages(BadImagesRecord {
            seed,
            training: training(),
            n: 23,
            images: (0..23).map(reason).collect(),
        }),
        Record::SoftTargets(SoftTargetsRecord {
            seed,
            training: training(),
            top_k: 10,
            bits: 32,
            n_views: 4,
            bytes: 410_000_000,
            asked,
            computed,
        }),
    ]
}

struct Student {
    name: &'static str,
    loss: Objective,
    error: f64,
}

fn students(made: &Made) -> [Student; 3] {
    let distill = |t: f64| distill(0.5, t);
    let [t10, sharp, alone] = made.errors;
    [
        Student { name: "baseline", loss: Objective::default(), error: alone },
        Student { name: "t0.5", loss: distill(0.5), error: sharp },
        Student { name: "t10", loss: distill(10.0), error: t10 },
    ]
}

impl Student {
    fn records(&self, seed: u64, made: &Made) -> Vec<Record> {
        let n_points = made.n_epochs * made.points_per_epoch;
        let shift = 0.001 * seed as f64;
        let mut records: Vec<_> =
            (1..=n_points).map(|i| Record::Curve(self.point(seed, i, shift, made))).collect();
        records.extend((1..=made.n_epochs).map(|epoch| Record::Epoch(self.epoch(seed, epoch))));
        let top1 = self.error + shift;
        records.push(Record::Final(Box::new(FinalRecord {
            seed,
            id: ModelId::new("resnet18", self.name),
            how: Trained {
                claim: Some(format!("imagenet/resnet18/{}", self.name)),
                network: "resnet18".into(),
                n_parameters: 11_689_512,
                loss: self.loss.clone(),
                n_epochs: made.n_epochs,
                n_train: N_TRAIN,
                ..Trained::default()
            },
            last: evaluation(top1, top1 / 3.0),
            best_top1: 1.0 - top1,
            best_epoch: made.n_epochs,
            seconds: 400_000.0,
            ..FinalRecord::default()
        })));
        records
    }

    /// Errors that fall to `error` as one over the passes.
    fn point(&self, seed: u64, i: u64, shift: f64, made: &Made) -> CurveRecord {
        let epoch = i as f64 / made.points_per_epoch as f64;
        let ripple = 0.006 * (i as f64 * (1.0 + self.error)).sin();
        let left =
            (1.0 - i as f64 / (made.n_epochs * made.points_per_epoch) as f64) / (0.3 + epoch);
        let test = self.error + shift + 0.35 * left + if left > 0.0 { ripple } else { 0.0 };
        let train = (test + 0.05).min(1.0);
        CurveRecord {
            seed,
            id: ModelId::new("resnet18", self.name),
            step: i * 10_000,
            epoch,
            n_train: N_TRAIN / made.points_per_epoch as usize,
            train_top1: 1.0 - train,
            train_top5: 1.0 - train / 2.0,
            train_loss: 2.0,
            test_top1: 1.0 - test,
            test_top5: 1.0 - test / 3.0,
            test_nll: 1.5,
        }
    }

    fn epoch(&self, seed: u64, epoch: u64) -> EpochRecord {
        EpochRecord {
            seed,
            id: ModelId::new("resnet18", self.name),
            epoch,
            learning_rate: 0.01,
            train_loss: 2.0,
            test_top1: Some(1.0 - self.error - 0.3 / epoch as f64),
            seconds: 1300.0,
            images_per_second: Some(1000.0 + epoch as f64),
            data_wait: Some(0.02),
            ..EpochRecord::default()
        }
    }
}

/// Of 1000 classes, whose confusion matrix is not recorded.
fn evaluation(top1_error: f64, top5_error: f64) -> Evaluation {
    let wrong = (top1_error * N_TEST as f64).round() as usize;
    let correct = N_TEST - wrong;
    let class = |i: usize| [50, (correct / 1000 + usize::from(i < correct % 1000)).min(50)];
    Evaluation {
        total: N_TEST,
        correct,
        top1: correct as f64 / N_TEST as f64,
        top5: 1.0 - top5_error,
        nll: 1.3,
        ece: 0.03,
        classes: (0..1000).map(class).collect(),
        ..Evaluation::default()
    }
}
