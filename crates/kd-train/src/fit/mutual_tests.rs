//! Students that learn from each other.

use candle_core::{Device, Tensor};
use kd_core::ops::OptimizerSpec;
use kd_core::{BatchSource, Error, Stream};

use crate::cohort::Cohort;
use crate::losses::{LossSpec, Mutual};
use crate::prepared::prepare;
use crate::step::train_step;
use crate::student::Student;
use crate::testing::{Dots, Network, weights};

const N_IMAGES: usize = 24;

fn student(name: &str, seed: u64, loss: LossSpec) -> Student {
    Student::new(name, Box::new(Network::new(seed)), loss, OptimizerSpec::default())
}

fn mutual(name: &str, seed: u64) -> Student {
    student(name, seed, LossSpec::Mutual(Mutual::default()))
}

/// The weights of each student after four steps on `n_threads`.
fn trained(students: Vec<Student>, n_threads: usize) -> Vec<Vec<u32>> {
    let mut cohort = Cohort::new("lab", 1, students);
    let source = Dots::new(N_IMAGES);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    pool.install(|| {
        for (i, indices) in source.order(0).chunks(6).enumerate() {
            let prepared = prepare(source.batch(0, indices).unwrap(), None, &[]).unwrap();
            train_step(&mut cohort, &prepared, 0.01, Stream::new(i as u64)).unwrap();
        }
    });
    weights(&cohort)
}

#[test]
fn they_move_each_other_and_nobody_else() {
    let labels = || student("labels", 1, LossSpec::Labels(Default::default()));
    let both = || vec![mutual("a", 1), labels(), mutual("b", 2)];
    let one = trained(both(), 1);
    assert_eq!(one, trained(both(), 3), "the same bits on three threads");
    assert_eq!(one[1], trained(vec![labels()], 1)[0], "who learns from labels alone hears nobody");
    assert_ne!(one[0], one[1], "the same network, which hears another");
    let other = trained(vec![mutual("a", 1), mutual("b", 3)], 1);
    assert_ne!(one[0], other[0], "another one says something else");
    let three = trained(vec![mutual("a", 1), mutual("b", 2), mutual("c", 3)], 2);
    assert_ne!(one[0], three[0]);
}

/// Who hears its own words learns from the labels: the divergence is 0, and so is its gradient.
#[test]
fn equal_networks_say_nothing_new() {
    let equal = trained(vec![mutual("a", 1), mutual("b", 1)], 2);
    assert_eq!(equal[0], equal[1]);
    let alone = trained(vec![student("labels", 1, LossSpec::Labels(Default::default()))], 1);
    let value = |bits: &[u32]| bits.iter().map(|b| f32::from_bits(*b)).collect::<Vec<_>>();
    let pairs = value(&equal[0]).into_iter().zip(value(&alone[0]));
    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn one_alone_is_refused() {
    let cohort = Cohort::new("lab", 1, vec![mutual("a", 1)]);
    let error = cohort.check(None, &Dots::new(N_IMAGES)).unwrap_err();
    assert!(matches!(error, Error::Config { .. }));
    assert!(error.to_string().contains("learns from other students"), "{error}");
    let two = Cohort::new("lab", 1, vec![mutual("a", 1), mutual("b", 2)]);
    assert!(two.check(None, &Dots::new(N_IMAGES)).is_ok());
}

/// In plain loops in f64: `CE + mean_m KL(p_m || p)`, whose gradient is `(2 p - y - mean_m p_m) / N`.
#[test]
fn value_and_gradient_are_the_papers() {
    use candle_core::Var;

    use crate::losses::{Loss, LossInput};
    let rows = [[0.5f64, -1.0, 2.0], [1.5, 0.25, -0.5]];
    let peers = [[[1.0f64, 0.0, -1.0], [0.5, 0.5, 1.0]], [[-2.0, 1.0, 0.0], [0.0, 3.0, 1.0]]];
    let y = [2usize, 0];
    let softmax = |z: &[f64; 3]| {
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        z.map(|z| z.exp() / sum)
    };
    let (mut want, mut gradient) = (0.0, [0.0; 6]);
    for i in 0..2 {
        let p = softmax(&rows[i]);
        want -= p[y[i]].ln() / 2.0;
        for k in 0..3 {
            let q = [softmax(&peers[0][i])[k], softmax(&peers[1][i])[k]];
            want += q.iter().map(|q| q * (q / p[k]).ln()).sum::<f64>() / 4.0;
            let label = if k == y[i] { 1.0 } else { 0.0 };
            gradient[3 * i + k] = (2.0 * p[k] - label - (q[0] + q[1]) / 2.0) / 2.0;
        }
    }
    let tensor = |rows: [[f64; 3]; 2]| {
        Tensor::new(&rows.map(|row| row.map(|z| z as f32)), &Device::Cpu).unwrap()
    };
    let logits = Var::from_tensor(&tensor(rows)).unwrap();
    let labels = Tensor::new(&[2u32, 0], &Device::Cpu).unwrap();
    let peers = peers.map(tensor);
    let input = LossInput { peers: &peers, ..LossInput::new(&logits, &labels) };
    let loss = Mutual::default().loss(&input).unwrap();
    assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - want).abs() < 1e-6);
    let grads = loss.backward().unwrap();
    let grad = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (got, want) in grad.iter().zip(gradient) {
        assert!((f64::from(*got) - want).abs() < 1e-6, "{got}, {want}");
    }
}
