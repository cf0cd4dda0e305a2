//! A small bench for training as a library: synthetic digits, a teacher, tiny students.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use candle_core::{Device, Tensor};
use kd_core::graph::Graph;
use kd_core::ops::{Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, MaxPool, Relu};
use kd_core::{Batch, BatchSource, Classifier, Error, Net, Perturb, Result, Stream};
use kd_data::{Augment, Dataset, Loader, SyntheticDigits};
use kd_models::ModelSpec;
use kd_train::{
    Cohort, Counters, Data, EvalSet, Keep, LossSpec, MetricsLog, OptimizerSpec, Outcome, Plan, Run,
    Schedule, Student, TeacherSource, fit,
};
use serde_json::Value;

/// Steps of the whole training: two epochs of five.
pub(crate) const N_STEPS: u64 = 10;
/// Fields of records that say how long something took, or how much was remembered meanwhile.
const CLOCKS: [&str; 5] =
    ["seconds", "wall_seconds", "images_per_second", "data_wait", "teacher_computed"];
/// What a checkpoint of the bench is marked with.
pub(crate) const SPEC_HASH: &str = "this spec";

/// The bits of all values.
pub(crate) fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// The bits of all parameters, in the order of their names.
pub(crate) fn weight_bits(network: &dyn Classifier) -> Vec<u32> {
    network.params().tensors().values().flat_map(bits).collect()
}

/// The lines of a metrics log without what the clock says.
pub(crate) fn timeless_metrics(path: &Path) -> Vec<Value> {
    let parse = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let fields = record.as_object_mut().unwrap();
        fields.retain(|key, _| !CLOCKS.contains(&key.as_str()));
        record
    };
    std::fs::read_to_string(path).unwrap().lines().map(parse).collect()
}

struct Lab {
    train: Loader,
    test: EvalSet,
    teacher: Box<dyn Classifier>,
}

static LAB: LazyLock<Lab> = LazyLock::new(|| {
    let splits = digits().load(None).unwrap();
    let augment = Augment { crop_padding: 2, ..Augment::default() };
    let (train, stream) = (Arc::new(splits.train), Stream::new(1).at("data"));
    let test = Loader::in_order(Arc::new(splits.test));
    Lab {
        train: Loader::new(train, augment, stream).unwrap(),
        test: EvalSet::new(Arc::new(test)).unwrap(),
        teacher: built(network(12, 0.0)),
    }
});

fn digits() -> SyntheticDigits {
    SyntheticDigits { n_train: 300, n_test: 100, seed: 0 }
}

/// Three stages of maps of so many channels, the last one's eight for all, and dropout before the head.
fn network(n_channels: usize, dropout: f32) -> Graph {
    let mut graph = Graph::new([1, 28, 28]);
    for (stage, channels) in [(1, n_channels), (2, n_channels), (3, 8)] {
        if stage > 1 {
            graph.then(format!("pool{stage}"), MaxPool::new(2, 2, 0));
        }
        graph.then(format!("conv{stage}"), Conv2d::new(channels, 3).padding(1));
        graph.then(format!("relu{stage}"), Relu {});
    }
    graph.then("mean", GlobalAvgPool {});
    graph.then("flatten", Flatten {});
    graph.then("dropout", Dropout { p: dropout, stream: None });
    graph.then("fc", Linear::new(10));
    graph
}

fn built(graph: Graph) -> Box<dyn Classifier> {
    let normalize = digits().normalize();
    let graph = graph.normalized(&normalize.mean, &normalize.std).unwrap();
    Net::new(graph, Stream::new(1).at("init"), &Device::Cpu).unwrap().into()
}

/// A small network that has made no step.
pub(crate) fn student(name: &str, loss: LossSpec) -> Student {
    Student::new(name, built(network(4, 0.2)), loss, OptimizerSpec::default())
}

/// A student that has made no step.
pub(crate) fn student_of(model: &ModelSpec, name: &str, loss: LossSpec) -> Student {
    let graph = model.as_dyn().graph([1, 28, 28], 10).unwrap();
    Student::new(name, built(graph), loss, OptimizerSpec::default())
}

/// A student of every objective that one can learn by alone, with its default settings.
pub(crate) fn all_students() -> Vec<Student> {
    let alone = LossSpec::all().into_iter().filter(|loss| !loss.as_dyn().needs_peers());
    alone.map(|loss| student(loss.name(), loss)).collect()
}

/// Two epochs of five steps.
pub(crate) fn plan() -> Plan {
    Plan {
        n_epochs: 2,
        batch_size: 64,
        learning_rate: 1e-3,
        optimizer: OptimizerSpec::default(),
        schedule: Schedule::Exponential { gamma: 0.5 },
        eval_every: 1,
        eval_every_steps: Some(3),
        keep: Keep::Last,
        patience: None,
        shards: None,
    }
}

/// A training in a folder: from its checkpoint if there is one, until it ends or `stop` is set.
pub(crate) fn train(
    folder: &Path,
    students: Vec<Student>,
    plan: &Plan,
    stop: &AtomicBool,
) -> Result<(Outcome, Cohort)> {
    let (lab, checkpoint) = (&*LAB, folder.join("state"));
    assert_eq!(plan.n_epochs * plan.n_steps(lab.train.n_samples()), N_STEPS);
    let mut cohort = Cohort::new("lab", 1, students);
    let mut metrics = MetricsLog::open(&folder.join("metrics.jsonl"))?;
    let n_bytes = cohort.resume(&checkpoint, SPEC_HASH, &Device::Cpu)?.unwrap_or(0);
    metrics.truncate(n_bytes)?;
    let data = Data {
        train: &lab.train,
        test: Some(&lab.test),
        holdout: None,
        teacher: Some(TeacherSource::Network(&*lab.teacher)),
        soft_targets: None,
    };
    let mut run = Run {
        metrics: &mut metrics,
        checkpoint: &checkpoint,
        spec_hash: SPEC_HASH,
        checkpoint_every: Duration::ZERO,
        checkpoint_within: Duration::ZERO,
        stop,
        counters: &Counters::default(),
    };
    let outcome = fit(&mut cohort, plan, data, &mut run)?;
    Ok((outcome, cohort))
}

/// A training from beginning to end: the weights of each student, and the metrics.
pub(crate) fn whole(students: Vec<Student>) -> (Vec<Vec<u32>>, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, cohort) =
        train(folder.path(), students, &plan(), &AtomicBool::new(false)).unwrap();
    assert_eq!(outcome, Outcome::Finished);
    (weights(&cohort), timeless_metrics(&folder.path().join("metrics.jsonl")))
}

/// What `work` gives on `n` threads.
pub(crate) fn with_threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(work)
}

/// The weights of each student.
pub(crate) fn weights(cohort: &Cohort) -> Vec<Vec<u32>> {
    cohort.students.iter().map(|student| weight_bits(&*student.model)).collect()
}

/// What a [`Probe`] does at its step.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// Sets the flag that stops the training, as a signal does.
    Stop(Arc<AtomicBool>),
    /// Fails, which ends the training without a checkpoint, as a kill does.
    Die,
}

/// Leaves the images as they are, and acts at the given step of this process.
pub(crate) struct Probe {
    left: AtomicU64,
    action: Action,
}

impl Probe {
    /// Acts at step `at`, counted from 1.
    pub(crate) fn at(at: u64, action: Action) -> Option<Box<dyn Perturb>> {
        Some(Box::new(Self { left: AtomicU64::new(at), action }))
    }
}

impl Perturb for Probe {
    fn perturb(&self, _: &dyn Classifier, batch: &Batch, _: Stream) -> Result<Tensor> {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            match &self.action {
                Action::Stop(stop) => stop.store(true, Ordering::Relaxed),
                Action::Die => return Err(Error::config("probe", "the end")),
            }
        }
        Ok(batch.images.clone())
    }
}
