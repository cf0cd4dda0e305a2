use candle_core::{Device, Var};
use serde_json::Value;

use super::*;
use crate::testing::{check_grad, numbers, random};
use crate::{Stream, golden};

fn matrix(value: &Value) -> Tensor {
    let values: Vec<f32> = numbers(value).iter().map(|&x| x as f32).collect();
    let n = value.as_array().unwrap().len();
    Tensor::from_vec(values.clone(), (n, values.len() / n), &Device::Cpu).unwrap()
}

fn labels(value: &Value) -> Tensor {
    let values: Vec<u32> = numbers(value).iter().map(|&x| x as u32).collect();
    Tensor::new(values, &Device::Cpu).unwrap()
}

/// Per-example losses, mean and gradient of our objective.
fn ours(logits: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> (f64, Vec<f64>) {
    let var = Var::from_tensor(logits).unwrap();
    let loss = f(&var).unwrap();
    let grad = loss.backward().unwrap().remove(&var).unwrap();
    let grad = grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (f64::from(loss.to_scalar::<f32>().unwrap()), grad.into_iter().map(f64::from).collect())
}

struct Tolerance {
    atol: f64,
    rtol: f64,
}

impl Tolerance {
    fn check(&self, what: &str, got: &[f64], want: &[f64], scale: f64) {
        assert_eq!(got.len(), want.len(), "{what}");
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            let allowed = self.atol * scale + self.rtol * w.abs();
            assert!((g - w).abs() <= allowed, "{what} [{i}]: got {g}, want {w}");
        }
    }
}

#[test]
fn objectives_equal_the_golden_values() {
    let golden = golden("objectives.json");
    let tolerance = Tolerance {
        atol: golden["tolerance"]["atol"].as_f64().unwrap(),
        rtol: golden["tolerance"]["rtol"].as_f64().unwrap(),
    };
    let cases = golden["cases"].as_array().unwrap().iter().chain([&golden["extreme"]]);
    let mut n_checked = 0;
    for case in cases {
        let student = matrix(&case["student"]);
        let y = labels(&case["labels"]);
        for (key, smoothing) in [("cross_entropy", 0.0), ("label_smoothing", 0.1)] {
            let want = &case[key];
            let (loss, grad) = ours(&student, |z| cross_entropy(z, &y, smoothing));
            tolerance.check(key, &[loss], &numbers(&want["mean"]), 1.0);
            tolerance.check(key, &grad, &numbers(&want["grad"]), 1.0);
        }
        for (key, reduction) in
            [("distillation", Reduction::BatchMean), ("li2018", Reduction::Li2018)]
        {
            for want in case[key].as_array().unwrap() {
                check_distillation(case, want, reduction, &tolerance);
                n_checked += 1;
            }
        }
    }
    assert_eq!(n_checked, 5 * 29 + 9);
}

fn check_distillation(case: &Value, want: &Value, reduction: Reduction, tolerance: &Tolerance) {
    let (student, teacher) = (matrix(&case["student"]), matrix(&case["teacher"]));
    let y = labels(&case["labels"]);
    let temperature = want["temperature"].as_f64().unwrap();
    let alpha = want["alpha"].as_f64().unwrap();
    let soft = SoftTargets { teacher_logits: &teacher, temperature, alpha, reduction };
    let (loss, grad) = ours(&student, |z| distillation(z, Some(&y), &soft));
    let what = format!("{} alpha {alpha} T {temperature} {reduction:?}", case["name"]);
    let scale = temperature.max(1.0);
    tolerance.check(&what, &[loss], &numbers(&want["mean"]), scale * scale);
    tolerance.check(&what, &grad, &numbers(&want["grad"]), scale);
    let objective = Objective {
        hard: Some(Hard {
            labels: y.to_vec1().unwrap(),
            weight: 1.0 - alpha,
            smoothing: 0.0,
            temperature: 1.0,
        }),
        soft: Some(Soft {
            teacher: teacher.flatten_all().unwrap().to_vec1().unwrap(),
            temperature,
            weight: soft_weight(&soft, student.dims()[1]),
        }),
        gradient: OnceLock::new(),
    };
    let logits = student.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let losses = cpu::rows(&logits, student.dims()[1], &objective).losses;
    let losses: Vec<f64> = losses.into_iter().map(f64::from).collect();
    tolerance.check(&what, &losses, &numbers(&want["per_example"]), scale * scale);
}

#[test]
fn gradients_equal_central_differences() {
    for (n, k) in [(1, 2), (5, 3), (17, 10)] {
        let logits = [random(Stream::new(1), &[n, k])];
        let teacher = (random(Stream::new(2), &[n, k]) * 3.0).unwrap();
        let y: Vec<u32> = (0..n).map(|i| (i % k) as u32).collect();
        let y = Tensor::new(y, &Device::Cpu).unwrap();
        check_grad(&logits, |z| cross_entropy(&z[0], &y, 0.1));
        check_grad(&logits, |z| cross_entropy_at(&z[0], &y, 2.5));
        for (alpha, temperature, reduction) in [
            (0.0, 1.0, Reduction::BatchMean),
            (0.5, 2.0, Reduction::BatchMean),
            (1.0, 5.0, Reduction::BatchMean),
            (0.3, 0.5, Reduction::BatchMean),
            (0.7, 3.0, Reduction::Unscaled),
        ] {
            let soft = SoftTargets { teacher_logits: &teacher, temperature, alpha, reduction };
            check_grad(&logits, |z| distillation(&z[0], Some(&y), &soft));
        }
    }
}

/// What the networks of defensive distillation learn from (`tests/golden/make_golden_defensive.py`).
#[test]
fn objectives_at_a_temperature_equal_the_golden_values() {
    let golden = golden("temperature.json");
    let number = |value: &Value| value.as_f64().unwrap();
    let [atol, rtol] = ["atol", "rtol"].map(|key| number(&golden["tolerance"][key]));
    let tolerance = Tolerance { atol, rtol };
    let mut n_checked = 0;
    for case in golden["cases"].as_array().unwrap() {
        let (student, teacher) = (matrix(&case["student"]), matrix(&case["teacher"]));
        let y = labels(&case["labels"]);
        for want in case["at"].as_array().unwrap() {
            let (temperature, alpha) = (number(&want["temperature"]), number(&want["alpha"]));
            let reduction = Reduction::Unscaled;
            let soft = SoftTargets { teacher_logits: &teacher, temperature, alpha, reduction };
            let check = |name: &str, (loss, grad): (f64, Vec<f64>)| {
                let what = format!("{name} at T {temperature}, alpha {alpha}");
                tolerance.check(&what, &[loss], &numbers(&want[name]["mean"]), 1.0);
                tolerance.check(&what, &grad, &numbers(&want[name]["grad"]), 1.0);
            };
            check("labels", ours(&student, |z| cross_entropy_at(z, &y, temperature)));
            check("unscaled", ours(&student, |z| distillation(z, Some(&y), &soft)));
            n_checked += 1;
        }
    }
    assert_eq!(n_checked, 4 * 6);
}

#[test]
fn at_temperature_one_labels_give_the_bits_of_the_plain_cross_entropy() {
    let student = random(Stream::new(3), &[37, 10]);
    let y = Tensor::new((0..37u32).map(|i| i % 10).collect::<Vec<_>>(), &Device::Cpu).unwrap();
    let plain = ours(&student, |z| cross_entropy(z, &y, 0.0));
    assert_eq!(plain, ours(&student, |z| cross_entropy_at(z, &y, 1.0)));
    let divided = (&student / 4.0).unwrap();
    let (at_4, _) = ours(&student, |z| cross_entropy_at(z, &y, 4.0));
    assert!((at_4 - ours(&divided, |z| cross_entropy(z, &y, 0.0)).0).abs() < 1e-6);
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(cross_entropy_at(&student, &y, temperature).is_err(), "T {temperature}");
    }
}

#[test]
fn alpha_zero_is_cross_entropy_bit_for_bit() {
    let (student, teacher) = (random(Stream::new(3), &[37, 10]), random(Stream::new(4), &[37, 10]));
    let y = Tensor::new((0..37u32).map(|i| i % 10).collect::<Vec<_>>(), &Device::Cpu).unwrap();
    let reduction = Reduction::BatchMean;
    let soft = SoftTargets { teacher_logits: &teacher, temperature: 4.0, alpha: 0.0, reduction };
    let plain = ours(&student, |z| cross_entropy(z, &y, 0.0));
    assert_eq!(plain, ours(&student, |z| distillation(z, Some(&y), &soft)));
}

#[test]
fn alpha_one_needs_no_labels_and_less_does() {
    let (student, teacher) = (random(Stream::new(3), &[4, 10]), random(Stream::new(4), &[4, 10]));
    let soft = |alpha| SoftTargets {
        teacher_logits: &teacher,
        temperature: 4.0,
        alpha,
        reduction: Reduction::BatchMean,
    };
    assert!(distillation(&student, None, &soft(1.0)).is_ok());
    assert!(distillation(&student, None, &soft(0.9)).is_err());
}

/// The gradient of the soft term falls as 1 / T^2; the factor T^2 undoes that.
#[test]
fn t_squared_keeps_the_size_of_the_gradient() {
    let student = (random(Stream::new(5), &[64, 10]) * 2.0).unwrap();
    let teacher = (random(Stream::new(6), &[64, 10]) * 2.0).unwrap();
    let norm = |temperature: f64| {
        let reduction = Reduction::BatchMean;
        let soft = SoftTargets { teacher_logits: &teacher, temperature, alpha: 1.0, reduction };
        let (_, grad) = ours(&student, |z| distillation(z, None, &soft));
        grad.iter().map(|g| g * g).sum::<f64>().sqrt()
    };
    let (at_1, at_5, at_20) = (norm(1.0), norm(5.0), norm(20.0));
    assert!((at_5 / at_1 - 1.0).abs() < 0.3 && (at_20 / at_5 - 1.0).abs() < 0.1);
    // Without it, T = 20 would have 400 times less weight than T = 1.
    assert!((at_20 / 400.0) / at_1 < 0.004);
}

/// As T grows, eq. 2 becomes the squared distance of centred logits over 2K (Hinton, eq. 4).
#[test]
fn high_temperature_matches_logits() {
    let (student, teacher) = (random(Stream::new(7), &[3, 10]), random(Stream::new(8), &[3, 10]));
    let reduction = Reduction::BatchMean;
    let soft = SoftTargets { teacher_logits: &teacher, temperature: 1e3, alpha: 1.0, reduction };
    let (_, grad) = ours(&student, |z| distillation(z, None, &soft));
    let center = |t: &Tensor| t.broadcast_sub(&t.mean_keepdim(1).unwrap()).unwrap();
    let want = ((center(&student) - center(&teacher)).unwrap() / 30.0).unwrap();
    let want = want.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (got, want) in grad.iter().zip(want) {
        assert!((got - f64::from(want)).abs() < 2e-4, "{got} {want}");
    }
}

#[test]
fn adding_a_constant_to_the_logits_changes_nothing() {
    let (student, teacher) = (random(Stream::new(9), &[5, 7]), random(Stream::new(10), &[5, 7]));
    let y = Tensor::new(vec![0u32, 1, 2, 3, 4], &Device::Cpu).unwrap();
    let loss = |student: &Tensor, teacher: &Tensor| {
        let reduction = Reduction::BatchMean;
        let soft = SoftTargets { teacher_logits: teacher, temperature: 3.0, alpha: 0.5, reduction };
        distillation(student, Some(&y), &soft).unwrap().to_scalar::<f32>().unwrap()
    };
    let moved = loss(&(&student + 4.0).unwrap(), &(&teacher - 8.0).unwrap());
    assert!((loss(&student, &teacher) - moved).abs() < 1e-5);
}

#[test]
fn what_has_no_meaning_is_refused() {
    let z = random(Stream::new(11), &[2, 3]);
    let y = Tensor::new(vec![0u32, 3], &Device::Cpu).unwrap();
    let error = cross_entropy(&z, &y, 0.0).unwrap_err().to_string();
    assert_eq!(error, "`labels`: label 3 of example 1 is not below 3");
    let reduction = Reduction::BatchMean;
    for (temperature, alpha) in [
        (0.0, 0.5),
        (-1.0, 0.5),
        (f64::NAN, 0.5),
        (f64::INFINITY, 0.5),
        (1.0, 1.5),
        (1.0, f64::NAN),
    ] {
        let soft = SoftTargets { teacher_logits: &z, temperature, alpha, reduction };
        assert!(distillation(&z, None, &soft).is_err(), "T {temperature}, alpha {alpha}");
    }
    let other = random(Stream::new(12), &[2, 4]);
    let soft = SoftTargets { teacher_logits: &other, temperature: 1.0, alpha: 1.0, reduction };
    assert!(matches!(distillation(&z, None, &soft), Err(Error::Shape { .. })));
}
