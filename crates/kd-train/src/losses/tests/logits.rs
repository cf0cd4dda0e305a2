//! The objectives once more, in f64 and plain loops, as their papers write them; what the ones that train are
//! compared with, values and gradients.

use candle_core::{DType, Device, Tensor, Var};
use kd_core::Stream;

use super::super::*;
use super::arrays::{kl, softmax};

type Rows = [Vec<f64>];

/// An objective of student's and teacher's logits and labels, in epoch number 10, counted from 1.
type Objective = dyn Fn(&Rows, &Rows, &[usize]) -> f64;

fn others(z: &[f64], label: usize) -> Vec<f64> {
    z.iter().enumerate().filter(|(k, _)| *k != label).map(|(_, z)| *z).collect()
}

fn mean_and_deviation(z: &[f64]) -> (f64, f64) {
    let mean = z.iter().sum::<f64>() / z.len() as f64;
    let squares: f64 = z.iter().map(|z| (z - mean).powi(2)).sum();
    (mean, (squares / (z.len() - 1) as f64).sqrt())
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let ((ma, sa), (mb, sb)) = (mean_and_deviation(a), mean_and_deviation(b));
    let products: f64 = a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum();
    products / ((a.len() - 1) as f64 * sa * sb)
}

/// The mean over images of `one`.
fn mean(s: &Rows, t: &Rows, y: &[usize], one: impl Fn(&[f64], &[f64], usize) -> f64) -> f64 {
    let all = s.iter().zip(t).zip(y).map(|((s, t), y)| one(s, t, *y));
    all.sum::<f64>() / s.len() as f64
}

fn cross_entropy(s: &Rows, y: &[usize]) -> f64 {
    mean(s, s, y, |s, _, y| -softmax(s, 1.0)[y].ln())
}

fn dkd(s: &Rows, t: &Rows, y: &[usize]) -> f64 {
    let one = |s: &[f64], t: &[f64], y: usize| {
        let [p, q] = [s, t].map(|z| softmax(z, 4.0)[y]);
        let target = kl(&[q, 1.0 - q], &[p, 1.0 - p]);
        target + 8.0 * kl(&softmax(&others(t, y), 4.0), &softmax(&others(s, y), 4.0))
    };
    cross_entropy(s, y) + 0.5 * 16.0 * mean(s, t, y, one)
}

fn nkd(s: &Rows, t: &Rows, y: &[usize]) -> f64 {
    let one = |s: &[f64], t: &[f64], y: usize| {
        let target = softmax(t, 1.0)[y] * softmax(s, 1.0)[y].ln();
        let (p, q) = (softmax(&others(s, y), 1.0), softmax(&others(t, y), 1.0));
        -target - 1.5 * q.iter().zip(p).map(|(q, p)| q * p.ln()).sum::<f64>()
    };
    cross_entropy(s, y) + mean(s, t, y, one)
}

fn dist(s: &Rows, t: &Rows, y: &[usize]) -> f64 {
    let [p, q] = [s, t].map(|z| z.iter().map(|z| softmax(z, 4.0)).collect::<Vec<_>>());
    let images = mean(&p, &q, y, |p, q, _| 1.0 - correlation(p, q));
    let class = |rows: &Rows, k: usize| rows.iter().map(|row| row[k]).collect::<Vec<f64>>();
    let n_classes = s[0].len();
    let classes = (0..n_classes).map(|k| 1.0 - correlation(&class(&p, k), &class(&q, k)));
    let classes = classes.sum::<f64>() / n_classes as f64;
    cross_entropy(s, y) + 16.0 * (2.0 * images + 2.0 * classes)
}

fn standardized(s: &Rows, t: &Rows, y: &[usize]) -> f64 {
    let standard = |z: &[f64]| {
        let (mean, deviation) = mean_and_deviation(z);
        z.iter().map(|z| (z - mean) / (deviation + 1e-7)).collect::<Vec<f64>>()
    };
    let one = |s: &[f64], t: &[f64], _| {
        let (p, q) = (softmax(&standard(s), 2.0), softmax(&standard(t), 2.0));
        -q.iter().zip(p).map(|(q, p)| q * p.ln()).sum::<f64>()
    };
    0.1 * cross_entropy(s, y) + 9.0 * 4.0 * mean(s, t, y, one)
}

fn ttm(s: &Rows, t: &Rows, y: &[usize], weighted: bool) -> f64 {
    let one = |s: &[f64], t: &[f64], _| {
        let powers: Vec<f64> = softmax(t, 1.0).iter().map(|q| q.powf(0.1)).collect();
        let sum: f64 = powers.iter().sum();
        let q: Vec<f64> = powers.iter().map(|power| power / sum).collect();
        kl(&q, &softmax(s, 1.0)) * if weighted { sum } else { 1.0 }
    };
    cross_entropy(s, y) + 45.0 * mean(s, t, y, one)
}

fn norm_kd(s: &Rows, t: &Rows, y: &[usize]) -> f64 {
    let one = |s: &[f64], t: &[f64], _| {
        let (own, theirs) = (mean_and_deviation(s).1, mean_and_deviation(t).1);
        theirs * theirs * kl(&softmax(t, theirs), &softmax(s, own))
    };
    0.5 * cross_entropy(s, y) + 0.5 * mean(s, t, y, one)
}

fn rld(s: &Rows, t: &Rows, y: &[usize]) -> f64 {
    let one = |s: &[f64], t: &[f64], y: usize| {
        let q = softmax(t, 1.0).into_iter().fold(0.0, f64::max);
        let p = softmax(s, 1.0)[y];
        let kept = |z: &[f64]| {
            let kept = z.iter().zip(t).filter(|(_, theirs)| **theirs < t[y]);
            kept.map(|(z, _)| *z).collect::<Vec<f64>>()
        };
        let among = |z: &[f64]| softmax(&kept(z), 4.0);
        kl(&[q, 1.0 - q], &[p, 1.0 - p]) + 8.0 * 16.0 * kl(&among(t), &among(s))
    };
    cross_entropy(s, y) + 0.5 * mean(s, t, y, one)
}

fn abkd(s: &Rows, t: &Rows, y: &[usize]) -> f64 {
    let (a, b) = (0.8, 0.3);
    let one = |s: &[f64], t: &[f64], _| {
        let pairs = softmax(t, 4.0).into_iter().zip(softmax(s, 4.0));
        let term = |(q, p): (f64, f64)| {
            let both = q.powf(a) * p.powf(b);
            both - a / (a + b) * q.powf(a + b) - b / (a + b) * p.powf(a + b)
        };
        -pairs.map(term).sum::<f64>() / (a * b)
    };
    cross_entropy(s, y) + 64.0 * mean(s, t, y, one)
}

fn teacher_free(s: &Rows, _: &Rows, y: &[usize]) -> f64 {
    let one = |s: &[f64], _: &[f64], y: usize| {
        let other = 0.01 / (s.len() - 1) as f64;
        let made_up = (0..s.len()).map(|k| if k == y { 0.99f64 } else { other }.powf(0.05));
        let made_up: Vec<f64> = made_up.collect();
        let sum: f64 = made_up.iter().sum();
        let q: Vec<f64> = made_up.iter().map(|q| q / sum).collect();
        kl(&q, &softmax(s, 20.0))
    };
    0.9 * cross_entropy(s, y) + 0.1 * 400.0 * mean(s, s, y, one)
}

fn confidence_penalty(s: &Rows, _: &Rows, y: &[usize]) -> f64 {
    let entropy =
        |s: &[f64], _: &[f64], _| -softmax(s, 1.0).iter().map(|p| p * p.ln()).sum::<f64>();
    cross_entropy(s, y) - 0.1 * mean(s, s, y, entropy)
}

fn regression(s: &Rows, t: &Rows, y: &[usize]) -> f64 {
    mean(s, t, y, |s, t, _| 0.5 * s.iter().zip(t).map(|(s, t)| (s - t).powi(2)).sum::<f64>())
}

/// Every objective on logits that is written with candle's operations.
fn all() -> Vec<(LossSpec, Box<Objective>)> {
    let weighted = Ttm { weighted: true, ..Ttm::default() };
    vec![
        (Regression::default().into(), Box::new(regression)),
        (Dkd::default().into(), Box::new(dkd)),
        (Nkd::default().into(), Box::new(nkd)),
        (Dist::default().into(), Box::new(dist)),
        (Standardized::default().into(), Box::new(standardized)),
        (Ttm::default().into(), Box::new(|s, t, y| ttm(s, t, y, false))),
        (weighted.into(), Box::new(|s, t, y| ttm(s, t, y, true))),
        (NormKd::default().into(), Box::new(norm_kd)),
        (Rld::default().into(), Box::new(rld)),
        (Abkd::default().into(), Box::new(abkd)),
        (TeacherFree::default().into(), Box::new(teacher_free)),
        (ConfidencePenalty::default().into(), Box::new(confidence_penalty)),
    ]
}

/// Value and gradient for the student's logits.
fn computed(loss: &LossSpec, (s, t): (&Tensor, &Tensor), y: &[u32]) -> (f64, Vec<f64>) {
    let logits = Var::from_tensor(s).unwrap();
    let labels = Tensor::new(y, &Device::Cpu).unwrap();
    let input = LossInput { teacher_logits: Some(t), epoch: 9, ..LossInput::new(&logits, &labels) };
    let views = [View { logits: logits.as_tensor().clone(), teacher_logits: Some(t.clone()) }];
    let own = loss.own_params(&input).unwrap();
    let loss = loss.loss(&LossInput { views: &views, own: &own, ..input }).unwrap();
    let grads = loss.backward().unwrap();
    let grad: Vec<f32> = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let value = loss.to_scalar::<f32>().unwrap();
    (f64::from(value), grad.into_iter().map(f64::from).collect())
}

fn rows(tensor: &Tensor) -> Vec<Vec<f64>> {
    tensor.to_dtype(DType::F64).unwrap().to_vec2().unwrap()
}

/// By central differences.
fn gradient(of: &Objective, s: &Rows, t: &Rows, y: &[usize]) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let (n, n_classes) = (s.len(), s[0].len());
    let moved = |i: usize, by: f64| {
        let mut s = s.to_vec();
        s[i / n_classes][i % n_classes] += by;
        of(&s, t, y)
    };
    (0..n * n_classes).map(|i| (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP)).collect()
}

#[test]
fn values_and_gradients_are_those_of_the_papers() {
    let logits = |name: &str, scale: f64| {
        (kd_core::testing::random(Stream::new(5).at(name), &[6, 7]) * scale).unwrap()
    };
    let (s, t, y) = (logits("student", 3.0), logits("teacher", 4.0), [0u32, 3, 6, 1, 1, 5]);
    let labels = y.map(|y| y as usize);
    for (loss, reference) in all() {
        let (value, grad) = computed(&loss, (&s, &t), &y);
        let want = reference(&rows(&s), &rows(&t), &labels);
        let error = (value - want).abs() / want.abs().max(1.0);
        assert!(error < 1e-6, "{}: {value}, want {want}", loss.name());
        let want = gradient(&*reference, &rows(&s), &rows(&t), &labels);
        let scale = want.iter().fold(1.0f64, |scale, g| scale.max(g.abs()));
        for (grad, want) in grad.iter().zip(&want) {
            assert!((grad - want).abs() < 1e-6 * scale, "{}: {grad}, want {want}", loss.name());
        }
    }
}

/// Two classes, one image, equal networks, equal logits and large ones: a number or a refusal.
#[test]
fn nothing_degenerate_gives_a_nan() {
    let rows = |rows: &[&[f32]]| {
        let n = rows.len();
        Tensor::from_vec(rows.concat(), (n, rows[0].len()), &Device::Cpu).unwrap()
    };
    let two = rows(&[&[1.0, -2.0], &[0.5, 0.25]]);
    let one = rows(&[&[1.0, -2.0, 0.5]]);
    let equal = rows(&[&[2.0; 3], &[2.0; 3]]);
    let large = rows(&[&[1e4, -1e4, 0.0], &[0.0, 1e4, -1e4]]);
    let swapped = rows(&[&[-1e4, 1e4, 0.0], &[0.0, -1e4, 1e4]]);
    let on_logits = |loss: &LossSpec| loss.taps().is_empty() && loss.teacher_taps().is_empty();
    for loss in LossSpec::all().into_iter().filter(on_logits) {
        for (s, t) in
            [(&two, &two), (&one, &one), (&equal, &equal), (&large, &large), (&large, &swapped)]
        {
            let y = &[0u32, 1][..s.dims()[0]];
            let (value, grad) = computed(&loss, (s, t), y);
            assert!(value.is_finite(), "{} of {s}: {value}", loss.name());
            assert!(grad.iter().all(|g| g.is_finite()), "{} of {s}: {grad:?}", loss.name());
        }
    }
}
