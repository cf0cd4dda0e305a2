//! Trainings in shards: the same bits for any number of processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use candle_core::Device;
use kd_core::collective::on_ranks;
use kd_core::ops::{
    Add, BatchNorm, Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, OptimizerSpec, Relu,
};
use kd_core::record::{self, Record};
use kd_core::{Batch, BatchSource, Collective, Graph, Net, Params, Single, Stream};

use super::*;
use crate::evaluate::EvalSet;
use crate::losses::{Distill, LossSpec, Similarity};
use crate::metrics_log::MetricsLog;
use crate::optimizer::Optimize;
use crate::progress::Counters;
use crate::student::Student;
use crate::teacher::TeacherSource;
use crate::testing::{Dots, N_CLASSES, Network, weights};

/// Two hidden layers, with dropout.
fn mlp() -> Graph {
    let mut graph = Graph::new([1, 2, 2]);
    graph.then("flatten", Flatten {});
    for (i, n) in [24, 16].into_iter().enumerate() {
        graph.then(format!("fc{i}"), Linear::new(n));
        graph.then(format!("relu{i}"), Relu {});
        graph.then(format!("drop{i}"), Dropout { p: 0.25, stream: Some(i as u64) });
    }
    graph.then("fc", Linear::new(N_CLASSES));
    graph
}

/// A ResNet of one block, with batch norm.
fn resnet() -> Graph {
    let mut graph = Graph::new([1, 2, 2]);
    graph.then("conv", Conv2d::new(16, 3).padding(1));
    graph.then("bn", BatchNorm::default());
    let x = graph.then("stem", Relu {});
    graph.then("conv1", Conv2d::new(16, 3).padding(1));
    graph.then("bn1", BatchNorm::default());
    graph.then("relu1", Relu {});
    graph.then("conv2", Conv2d::new(16, 3).padding(1));
    let y = graph.then("bn2", BatchNorm::default());
    graph.push("add", Add {}, &[&y, &x]);
    graph.then("relu2", Relu {});
    graph.then("pool", GlobalAvgPool {});
    graph.then("flatten", Flatten {});
    graph.then("fc", Linear::new(N_CLASSES));
    graph
}

/// [`Dots`] that stop a training when an image is looked at for the `n`-th time.
struct Watched {
    dots: Dots,
    n: AtomicU64,
    stop: AtomicBool,
}

impl BatchSource for Watched {
    fn n_samples(&self) -> usize {
        self.dots.n_samples()
    }

    fn n_classes(&self) -> usize {
        N_CLASSES
    }

    fn image_shape(&self) -> [usize; 3] {
        [1, 2, 2]
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        self.dots.order(epoch)
    }

    fn batch(&self, epoch: u64, indices: &[u32]) -> Result<Batch> {
        if self.n.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.dots.batch(epoch, indices)
    }
}

/// A training of two students, one of them with a teacher.
struct Lab<'a> {
    folder: &'a Path,
    graph: fn() -> Graph,
    shards: Option<usize>,
    /// Stops when the first rank has asked for so many shards.
    stop_at: u64,
    bad: Vec<u32>,
}

impl Lab<'_> {
    fn plan(&self) -> Plan {
        Plan { shards: self.shards, ..Plan::new(2, 16, 0.01) }
    }

    fn cohort(&self, ranks: Arc<dyn Collective>) -> Cohort {
        let student = |name: &str, loss: LossSpec| {
            let net = Net::new((self.graph)(), Stream::new(1), &Device::Cpu).unwrap();
            Student::new(name, net.into(), loss, OptimizerSpec::default())
        };
        let plain = student("plain", LossSpec::Labels(Default::default()));
        let distilled = student("distilled", LossSpec::Distill(Distill::default()));
        let mut cohort = Cohort::new("lab", 1, vec![plain, distilled]);
        cohort.ranks = ranks;
        cohort
    }

    /// As one rank, from the checkpoint where there is one.
    fn train(&self, ranks: Arc<dyn Collective>) -> (Outcome, Vec<Vec<u32>>) {
        let mut cohort = self.cohort(ranks);
        (self.fit(&mut cohort).unwrap(), weights(&cohort))
    }

    fn fit(&self, cohort: &mut Cohort) -> Result<Outcome> {
        let is_first = cohort.ranks.rank() == 0;
        let checkpoint = self.folder.join("state");
        let n_bytes = cohort.resume(&checkpoint, "spec", &Device::Cpu).unwrap();
        let mut metrics = match is_first {
            true => MetricsLog::open(&self.metrics()).unwrap(),
            false => MetricsLog::none(),
        };
        metrics.truncate(n_bytes.unwrap_or(0)).unwrap();
        let test = EvalSet::new(Arc::new(Dots::new(30))).unwrap();
        let dots = Dots { bad: self.bad.clone(), ..Dots::new(83) };
        let n = AtomicU64::new(if is_first { self.stop_at } else { 0 });
        let train = Watched { dots, n, stop: AtomicBool::new(false) };
        let teacher = Network::new(9);
        let data = Data {
            train: &train,
            test: Some(&test),
            holdout: None,
            teacher: Some(TeacherSource::Network(&teacher)),
            soft_targets: None,
        };
        let mut run = Run {
            metrics: &mut metrics,
            checkpoint: &checkpoint,
            spec_hash: "spec",
            checkpoint_every: Duration::MAX,
            checkpoint_within: Duration::MAX,
            stop: &train.stop,
            counters: &Counters::default(),
        };
        fit(cohort, &self.plan(), data, &mut run)
    }

    fn metrics(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }

    /// What the records say, but for times.
    fn records(&self) -> Vec<Record> {
        let mut records = record::read(&self.metrics()).unwrap();
        for record in &mut records {
            if let Record::Epoch(epoch) = record {
                (epoch.seconds, epoch.images_per_second, epoch.data_wait) = (0.0, None, None);
            }
        }
        records
    }
}

/// The outcome and the weights, which all of `n_ranks` agree on.
fn agreed(lab: &Lab<'_>, n_ranks: usize) -> (Outcome, Vec<Vec<u32>>) {
    let mut all = on_ranks(n_ranks, |ranks| lab.train(ranks)).unwrap();
    let first = all.swap_remove(0);
    assert!(all.iter().all(|other| *other == first), "{n_ranks} ranks disagree");
    first
}

/// Weights and records of a training without an interruption.
fn whole(lab: &Lab<'_>, n_ranks: usize) -> (Vec<Vec<u32>>, Vec<Record>) {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab { folder: folder.path(), bad: lab.bad.clone(), stop_at: 0, ..*lab };
    let (outcome, weights) = agreed(&lab, n_ranks);
    assert_eq!(outcome, Outcome::Finished);
    (weights, lab.records())
}

fn lab(graph: fn() -> Graph) -> Lab<'static> {
    Lab { folder: Path::new(""), graph, shards: Some(8), stop_at: 0, bad: Vec::new() }
}

#[test]
fn any_number_of_ranks_learns_the_same() {
    for graph in [mlp, resnet] {
        let lab = lab(graph);
        let one = whole(&lab, 1);
        for n_ranks in [2, 4, 8] {
            assert_eq!(whole(&lab, n_ranks), one, "{n_ranks} ranks");
        }
    }
}

#[test]
fn images_that_cannot_be_read_leave_all_ranks_with_the_same() {
    let order = Dots::new(83).order(0);
    // A whole shard of the first batch, parts of others, and a whole batch.
    let bad = [&order[..2], &order[5..6], &order[16..32]].concat();
    let lab = Lab { bad, ..lab(resnet) };
    assert_eq!(whole(&lab, 4), whole(&lab, 1));
}

#[test]
fn an_interrupted_training_goes_on_with_another_number_of_ranks() {
    for graph in [mlp, resnet] {
        let want = whole(&lab(graph), 1);
        for (before, after) in [(4, 1), (1, 2), (2, 4)] {
            let folder = tempfile::tempdir().unwrap();
            let mut lab = Lab { folder: folder.path(), stop_at: 5, ..lab(graph) };
            assert_eq!(agreed(&lab, before).0, Outcome::Interrupted);
            lab.stop_at = 0;
            let (outcome, weights) = agreed(&lab, after);
            let got = (weights, lab.records());
            assert_eq!((outcome, &got), (Outcome::Finished, &want), "{before}, then {after}");
        }
    }
}

#[test]
fn one_shard_is_the_batch_as_it_is() {
    for graph in [mlp, resnet] {
        let one = Lab { shards: Some(1), ..lab(graph) };
        let none = Lab { shards: None, ..lab(graph) };
        assert_eq!(whole(&one, 1), whole(&none, 1));
    }
}

#[test]
fn what_cannot_be_trained_in_shards_is_named() {
    let train = Dots::new(83);
    let refused = |cohort: &Cohort, plan: &Plan, reason: &str| {
        let error = crate::shards::of(plan, (&train, false), cohort).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    };
    let (lab, single) = (lab(mlp), || Arc::new(Single));
    let mut cohort = lab.cohort(single());
    refused(&cohort, &Plan { batch_size: 4, ..lab.plan() }, "8 shards of batches of 4");
    refused(&cohort, &Plan { shards: Some(6), ..lab.plan() }, "power of two");
    cohort.students[1].loss = Box::new(LossSpec::Similarity(Similarity::default()));
    refused(&cohort, &lab.plan(), "`distilled`: the objective looks at several images together");
    let errors = on_ranks(2, |ranks| {
        let (cohort, plan) = (lab.cohort(ranks), Plan { shards: None, ..lab.plan() });
        refused(&cohort, &plan, "2 processes share the shards");
    });
    errors.unwrap();
}

#[test]
fn an_optimizer_that_moves_whole_networks_is_refused() {
    struct Whole;
    impl Optimize for Whole {
        fn step(&mut self, _: &Params, _: f64, _: u64) -> Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab { folder: folder.path(), ..lab(mlp) };
    let mut cohort = lab.cohort(Arc::new(Single));
    cohort.students[0].optimizer = Box::new(Whole);
    let error = lab.fit(&mut cohort).unwrap_err().to_string();
    assert!(error.contains("moves whole networks only"), "{error}");
}
