mod arrays;
mod logits;
mod papers;
mod parts;
mod review;

use super::*;
use candle_core::{Device, Var};
use kd_core::Stream;
use kd_core::ops::Reduction;
use kd_core::testing::random;

fn distill(alpha: f64, temperature: f64, reduction: Reduction) -> LossSpec {
    LossSpec::Distill(Distill { alpha, temperature, reduction })
}

fn smoothing(smoothing: f64) -> LossSpec {
    LossSpec::LabelSmoothing(LabelSmoothing { smoothing })
}

/// Value and gradient for the student's logits.
fn value(spec: &LossSpec, logits: &Tensor, teacher: Option<&Tensor>) -> (f32, Vec<f32>) {
    let logits = Var::from_tensor(logits).unwrap();
    let labels = (0..logits.dims()[0] as u32).collect::<Vec<_>>();
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    let input = LossInput { teacher_logits: teacher, ..LossInput::new(&logits, &labels) };
    let loss = spec.as_dyn().loss(&input).unwrap();
    let grads = loss.backward().unwrap();
    let grad = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (loss.to_scalar().unwrap(), grad)
}

fn close(got: f32, want: f64) {
    assert!((f64::from(got) - want).abs() < 1e-6, "{got}, want {want}");
}

#[test]
fn values_are_those_computed_by_hand() {
    // Softmax of (ln 3, 0) is (3/4, 1/4), of (0, 0) it is (1/2, 1/2); the label is 0.
    let logits = Tensor::new(&[[3f32.ln(), 0.0]], &Device::Cpu).unwrap();
    let teacher = Tensor::zeros_like(&logits).unwrap();
    let hard = -(0.75f64.ln());
    let soft = -0.5 * (0.75f64.ln() + 0.25f64.ln());
    let value = |spec: LossSpec| value(&spec, &logits, Some(&teacher)).0;
    close(value(LossSpec::Labels(Labels::default())), hard);
    close(value(smoothing(0.2)), -(0.9 * 0.75f64.ln() + 0.1 * 0.25f64.ln()));
    close(value(distill(1.0, 1.0, Reduction::BatchMean)), soft);
    close(value(distill(0.25, 1.0, Reduction::BatchMean)), 0.25 * soft + 0.75 * hard);
    close(value(distill(0.25, 1.0, Reduction::Li2018)), 0.125 * soft + 0.75 * hard);
    close(value(distill(0.25, 1.0, Reduction::Li2018Mnist)), 0.25 * soft + 0.75 * hard);
    // At T = 2 the student's odds are sqrt(3) to 1, and the soft term counts four times.
    let odds = 3f64.sqrt();
    let soft = -0.5 * ((odds / (1.0 + odds)).ln() + (1.0 / (1.0 + odds)).ln());
    close(value(distill(1.0, 2.0, Reduction::BatchMean)), 4.0 * soft);
    close(value(distill(1.0, 2.0, Reduction::Unscaled)), soft);
    close(value(LossSpec::Labels(Labels { temperature: 2.0 })), -(odds / (1.0 + odds)).ln());
}

#[test]
fn what_weighs_nothing_changes_no_bit() {
    let (logits, teacher) = (random(Stream::new(1), &[4, 6]), random(Stream::new(2), &[4, 6]));
    let plain = value(&LossSpec::Labels(Labels::default()), &logits, None);
    assert_eq!(value(&smoothing(0.0), &logits, None), plain);
    let none = distill(0.0, 5.0, Reduction::BatchMean);
    assert_eq!(value(&none, &logits, Some(&teacher)), plain);
}

#[test]
fn settings_outside_their_domain_are_refused() {
    for (alpha, temperature) in
        [(-0.1, 1.0), (1.1, 1.0), (f64::NAN, 1.0), (0.5, 0.0), (0.5, f64::INFINITY)]
    {
        let spec = distill(alpha, temperature, Reduction::BatchMean);
        assert!(matches!(spec.as_dyn().check(), Err(Error::Config { .. })), "{spec:?}");
    }
    let labels = LossSpec::Labels(Labels { temperature: 0.0 });
    for spec in [smoothing(1.0), smoothing(-0.1), labels] {
        assert!(spec.as_dyn().check().is_err(), "{spec:?}");
    }
    assert!(LossSpec::all().iter().all(|spec| spec.as_dyn().check().is_ok()));
}
