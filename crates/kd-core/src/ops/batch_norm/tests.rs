use candle_core::{Device, Var};

use super::*;
use crate::ops::{Conv, Geometry, conv2d, relu};
use crate::testing::{check_grad, random};
use crate::{Grad, Param, Stream};

const EPS: f32 = 1e-5;

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn values_by_hand() {
    // Channel 0: 1, 3 (mean 2, variance 1); channel 1: 0, 8 (mean 4, variance 16).
    let x = Tensor::new(&[[1f32, 0.], [3., 8.]], &Device::Cpu).unwrap();
    let gamma = Tensor::new(&[2f32, 1.], &Device::Cpu).unwrap();
    let beta = Tensor::new(&[0f32, 5.], &Device::Cpu).unwrap();
    let (y, stats) = batch_norm(&x, &gamma, &beta, 0.0).unwrap();
    assert_eq!(floats(&y), [-2., 4., 2., 6.]);
    assert_eq!(
        (stats.mean.as_slice(), stats.variance.as_slice(), stats.n),
        (&[2., 4.][..], &[1., 16.][..], 2)
    );
    assert_eq!(stats.unbiased_variance(), [2., 32.]);
}

#[test]
fn gradients_equal_central_differences() {
    for (n, c) in [(8, 1), (13, 5), (300, 3)] {
        let (gamma, beta) = (random(Stream::new(2), &[c]), random(Stream::new(3), &[c]));
        let inputs = [random(Stream::new(1), &[n, c]), gamma, beta];
        check_grad(&inputs, |t| Ok(batch_norm(&t[0], &t[1], &t[2], EPS)?.0));
    }
}

/// A convolution with its batch norm, as parameters and as what the fused operation takes.
struct Parts {
    x: Tensor,
    residual: Tensor,
    weight: Param,
    gamma: Param,
    beta: Param,
    conv: Conv,
}

impl Parts {
    fn new() -> Self {
        let param = |seed, shape: &[usize]| Param::new(&random(Stream::new(seed), shape)).unwrap();
        Self {
            x: random(Stream::new(1), &[3, 5, 6, 4]),
            residual: random(Stream::new(2), &[3, 3, 3, 7]),
            weight: param(3, &[7, 4, 3, 3]),
            gamma: param(4, &[7]),
            beta: param(5, &[7]),
            conv: Conv { stride: 2, padding: 1, groups: 1 },
        }
    }

    fn fused(&self, relu: bool) -> Fused {
        let geometry = Geometry::new(self.x.dims(), &[7, 4, 3, 3], self.conv).unwrap();
        Fused {
            conv: Some((geometry, self.weight.constant(), self.weight.grad().clone())),
            gamma: self.gamma.var().as_tensor().clone(),
            beta: floats(&self.beta.constant()),
            sinks: [self.gamma.grad().clone(), self.beta.grad().clone()],
            eps: EPS,
            relu,
        }
    }

    fn params(&self) -> [&Param; 3] {
        [&self.weight, &self.gamma, &self.beta]
    }
}

fn close(got: &[f32], want: &[f32], what: &str) {
    let scale = want.iter().fold(1e-3f32, |m, w| m.max(w.abs()));
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-4 * scale, "{what}: {got}, not {want}");
    }
}

#[test]
fn fusing_changes_no_value_and_no_gradient() {
    for (with_residual, with_relu) in [(false, false), (false, true), (true, false), (true, true)] {
        let parts = Parts::new();
        let [x, residual] = [&parts.x, &parts.residual].map(|t| Var::from_tensor(t).unwrap());
        let [w, gamma, beta] = parts.params().map(|p| p.var().as_tensor());
        let y = conv2d(&x, w, None, parts.conv).unwrap();
        let (mut want, want_stats) = batch_norm(&y, gamma, beta, EPS).unwrap();
        if with_residual {
            want = (want + residual.as_tensor()).unwrap();
        }
        if with_relu {
            want = relu(&want).unwrap();
        }
        let grads = want.sqr().unwrap().sum_all().unwrap().backward().unwrap();

        let added = with_residual.then_some(residual.as_tensor());
        let (got, stats) = train(parts.fused(with_relu), &x, added).unwrap();
        close(&floats(&got), &floats(&want), "output");
        close(&stats.mean, &want_stats.mean, "mean");
        close(&stats.variance, &want_stats.variance, "variance");
        let sunk = got.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        close(&floats(sunk.get(&x).unwrap()), &floats(grads.get(&x).unwrap()), "x");
        if with_residual {
            let [sunk, want] = [&sunk, &grads].map(|g| floats(g.get(&residual).unwrap()));
            close(&sunk, &want, "residual");
        }
        for param in parts.params() {
            let sink: &Grad = param.grad();
            let want = floats(grads.get(param.var()).unwrap());
            close(&floats(sink.get().unwrap()), &want, "parameter");
        }
    }
}

#[test]
fn parameters_learn_though_the_input_is_a_constant() {
    let parts = Parts::new();
    let (y, _) = train(parts.fused(true), &parts.x, None).unwrap();
    y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    for param in parts.params() {
        assert!(floats(param.grad().get().unwrap()).iter().any(|g| *g != 0.0));
    }
}

#[test]
fn evaluation_folds_into_the_convolution() {
    let parts = Parts::new();
    let (mean, variance) = ([0.1f32, -0.2, 0.3, 0.0, 0.5, -1.0, 0.2], [0.5f32; 7]);
    let y = conv2d(&parts.x, &parts.weight.constant(), None, parts.conv).unwrap();
    let row = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
    let normalized = y.broadcast_sub(&row(&mean)).unwrap();
    let normalized = (normalized / f64::from((0.5 + EPS).sqrt())).unwrap();
    let want = normalized.broadcast_mul(&parts.gamma.constant()).unwrap();
    let want = want.broadcast_add(&parts.beta.constant()).unwrap();
    let want = relu(&(want + &parts.residual).unwrap()).unwrap();
    let fused = parts.fused(true);
    let got = eval(&fused, (&mean, &variance), &parts.x, Some(&parts.residual)).unwrap();
    close(&floats(&got), &floats(&want), "output");
    let alone = Fused { conv: None, ..fused };
    let got = eval(&alone, (&mean, &variance), &y, Some(&parts.residual)).unwrap();
    close(&floats(&got), &floats(&want), "output without the convolution");
}

#[test]
fn gradients_in_evaluation_equal_central_differences() {
    let parts = Parts::new();
    let (mean, variance) = ([0.1f32; 7], [0.5f32; 7]);
    let inputs = [parts.x.clone(), parts.residual.clone()];
    check_grad(&inputs, |t| eval(&parts.fused(true), (&mean, &variance), &t[0], Some(&t[1])));
    check_grad(&inputs[..1], |t| eval(&parts.fused(false), (&mean, &variance), &t[0], None));
    let alone = Fused { conv: None, ..parts.fused(true) };
    check_grad(&inputs[1..], |t| eval(&alone, (&mean, &variance), &t[0], None));
}

#[test]
fn moments_are_exact_far_from_zero_and_the_same_for_any_thread_count() {
    let x = (random(Stream::new(1), &[90_000, 3]) + 1000.0).unwrap();
    let x = floats(&x);
    let with_threads = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| cpu::moments(&x, 3).finish())
    };
    let (mean, variance, n) = with_threads(1);
    assert_eq!((mean.clone(), variance.clone(), n), with_threads(3));
    for c in 0..3 {
        let values: Vec<f64> = x.iter().skip(c).step_by(3).map(|v| f64::from(*v)).collect();
        let want = values.iter().sum::<f64>() / 90_000.0;
        let spread = values.iter().map(|v| (v - want).powi(2)).sum::<f64>() / 90_000.0;
        assert!((f64::from(mean[c]) - want).abs() < 1e-4);
        assert!((f64::from(variance[c]) - spread).abs() < 1e-4 * spread);
    }
}

#[test]
fn wrong_shapes_are_named() {
    let parts = Parts::new();
    let fused = parts.fused(false);
    let error = train(fused.clone(), &parts.x, Some(&parts.x)).unwrap_err().to_string();
    assert!(error.contains("residual"), "{error}");
    let alone = Fused { conv: None, ..fused };
    assert!(train(alone, &parts.x, None).is_err());
    let x = random(Stream::new(1), &[4, 3]);
    assert!(batch_norm(&x, &parts.gamma.constant(), &parts.beta.constant(), EPS).is_err());
}
