//! Helpers with which every gradient is proven; for tests, here and in other crates.

use std::sync::OnceLock;
use std::time::Duration;

use candle_core::{Device, Tensor, Var};
use serde_json::Value;

use crate::device::{self, Precision};
use crate::{Result, Stream};

/// Values in `[-1, 1)`.
///
/// # Panics
/// When candle cannot allocate.
pub fn random(stream: Stream, shape: &[usize]) -> Tensor {
    let mut rng = stream.rng();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.uniform_in(-1.0, 1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("the values fill the shape")
}

/// The numbers of a list, or of a list of lists one after the other.
///
/// # Panics
/// When there is something else among them.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().expect("a number")],
    }
}

/// The first GPU, opened once; nothing where there is none, which is said.
///
/// # Panics
/// When a GPU is there and cannot be opened.
pub fn gpu() -> Option<Device> {
    static GPU: OnceLock<Option<Device>> = OnceLock::new();
    let first = || {
        if !device::can_use_gpu() {
            eprintln!("no GPU, or built without CUDA: nothing is compared with one");
            return None;
        }
        Some(device::open("cuda", Precision::F32).expect("the GPU opens"))
    };
    GPU.get_or_init(first).clone()
}

/// Time of this thread on a processor, on Linux: for limits that hold on a busy machine, too.
///
/// # Panics
/// When the system does not tell it.
pub fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.expect("its first number is nanoseconds"))
}

/// `|got - want| / |want|`, in Euclidean norms; NaN is infinite.
///
/// # Panics
/// When the shapes differ.
pub fn relative_error(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.dims(), want.dims(), "shape");
    let (got, want) = (floats(got), floats(want));
    let square = |sum: f64, x: f64| sum + x * x;
    let difference = got.iter().zip(&want).map(|(g, w)| g - w).fold(0.0, square);
    let size = want.iter().copied().fold(f64::MIN_POSITIVE, square);
    let error = (difference / size).sqrt();
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Compares the gradients of `sum(weights * f(inputs))`, for fixed random weights, with central
/// differences, for every input and every element (at most 60 of each input).
///
/// The function is summed in f64; steps are 1e-2 and the tolerance 1e-2 relative to the largest
/// gradient, for functions computed in f32 that are smooth or piecewise linear.
///
/// # Panics
/// When a gradient is missing or differs, naming input and element.
pub fn check_grad(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).expect("copy")).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = f(&tracked).expect("forward");
    let weights = random(Stream::new(99), y.dims());
    let loss = (&y * &weights).and_then(|t| t.sum_all()).expect("loss");
    let grads = loss.backward().expect("backward");
    for (i, var) in vars.iter().enumerate() {
        let grad = grads.get(var).unwrap_or_else(|| panic!("input {i} has no gradient"));
        assert_eq!(grad.dims(), var.dims(), "shape of the gradient of input {i}");
        let grad = floats(grad);
        let scale = grad.iter().fold(1e-3, |m: f64, g| m.max(g.abs()));
        let n = grad.len();
        for k in (0..n).step_by(n.div_ceil(60)) {
            let want = central_difference(inputs, i, k, &weights, &f);
            let got = grad[k];
            assert!(
                (got - want).abs() <= 1e-2 * scale,
                "input {i}, element {k}: backward {got}, central difference {want}"
            );
        }
    }
}

fn central_difference(
    inputs: &[Tensor],
    i: usize,
    k: usize,
    weights: &Tensor,
    f: &impl Fn(&[Tensor]) -> Result<Tensor>,
) -> f64 {
    let at = |step: f32| {
        let mut values: Vec<f32> = floats(&inputs[i]).iter().map(|v| *v as f32).collect();
        values[k] += step;
        let mut moved = inputs.to_vec();
        moved[i] = Tensor::from_vec(values, inputs[i].dims(), &Device::Cpu).expect("copy");
        let y = floats(&f(&moved).expect("forward"));
        y.iter().zip(floats(weights)).map(|(y, w)| y * w).sum::<f64>()
    };
    // Piecewise linear functions have kinks: the smaller of two steps decides near one.
    let (wide, narrow) = (difference(&at, 1e-2), difference(&at, 1e-3));
    if (wide - narrow).abs() < 1e-2 { wide } else { narrow }
}

fn difference(at: &impl Fn(f32) -> f64, step: f32) -> f64 {
    (at(step) - at(-step)) / (2.0 * f64::from(step))
}

fn floats(tensor: &Tensor) -> Vec<f64> {
    let values = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("f32 tensor");
    values.into_iter().map(f64::from).collect()
}
