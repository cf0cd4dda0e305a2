use candle_core::{Device, Tensor};

use super::*;
use crate::Stream;
use crate::testing::{check_grad, random};
use crate::{Mode, apply};

/// In training, with running statistics that nobody asks for.
fn batch_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f32) -> crate::Result<Tensor> {
    let n_channels = gamma.elem_count();
    let running = [0.0f32, 1.0].map(|v| Tensor::full(v, n_channels, &Device::Cpu).unwrap());
    let params = [gamma, beta, &running[0], &running[1]];
    let norm = BatchNorm { eps, ..BatchNorm::default() };
    apply(norm, &[x], &params, Mode::Train(Stream::new(0)))
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn values_by_hand() {
    // Channel 0: 1, 3 (mean 2, variance 1); channel 1: 0, 8 (mean 4, variance 16).
    let x = Tensor::new(&[[1f32, 0.], [3., 8.]], &Device::Cpu).unwrap();
    let gamma = Tensor::new(&[2f32, 1.], &Device::Cpu).unwrap();
    let beta = Tensor::new(&[0f32, 5.], &Device::Cpu).unwrap();
    let y = batch_norm(&x, &gamma, &beta, 0.0).unwrap();
    let stats = cpu::moments(&floats(&x), 2).finish();
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
        check_grad(&inputs, |t| batch_norm(&t[0], &t[1], &t[2], 1e-5));
    }
}

#[test]
fn moments_are_exact_far_from_zero_and_the_same_for_any_thread_count() {
    let x = (random(Stream::new(1), &[90_000, 3]) + 1000.0).unwrap();
    let x = floats(&x);
    let with_threads = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| cpu::moments(&x, 3).finish())
    };
    let BatchStats { mean, variance, n } = with_threads(1);
    assert_eq!(BatchStats { mean: mean.clone(), variance: variance.clone(), n }, with_threads(3));
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
    let channels = random(Stream::new(2), &[4]);
    let x = random(Stream::new(1), &[4, 3]);
    let error = batch_norm(&x, &channels, &channels, 1e-5).unwrap_err().to_string();
    assert!(error.contains("weight: expected shape [3]"), "{error}");
}
