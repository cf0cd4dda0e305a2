//! Networks that are sound, and one that is broken in the way of each check.

use std::sync::atomic::{AtomicU32, Ordering};

use candle_core::{Device, Tensor};
use kd_core::record::AuditVerdict;
use kd_core::{Classifier, Mode, Params};

use super::*;
use crate::testing::{Mlp, N_PIXELS, examples, victim};

/// A function around a network.
struct Wrapped<F>(Mlp, F);

impl<F: Fn(&Tensor, Tensor) -> candle_core::Result<Tensor> + Send + Sync> Classifier
    for Wrapped<F>
{
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let logits = self.0.forward(images, mode)?;
        Ok((self.1)(images, logits)?)
    }

    fn n_classes(&self) -> usize {
        self.0.n_classes()
    }

    fn params(&self) -> &Params {
        self.0.params()
    }
}

/// The same logits, whose gradient is kept for images of which `keeps` is true, and lost for the
/// others.
fn keep_gradients(
    images: &Tensor,
    logits: Tensor,
    keeps: fn(&[f32]) -> bool,
) -> candle_core::Result<Tensor> {
    let rows = images.flatten_from(1)?.to_vec2::<f32>()?;
    let mask: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(keeps(row)))).collect();
    let mask = Tensor::from_vec(mask, (rows.len(), 1), &Device::Cpu)?;
    let kept = logits.broadcast_mul(&mask)?;
    let lost = logits.detach().broadcast_mul(&(1.0 - mask)?)?;
    kept + lost
}

fn audit(model: &dyn Classifier, audit: &Audit, (low, high): (f32, f32)) -> AuditRecord {
    audit_with(model, audit, (low, high), &[])
}

fn audit_with(
    model: &dyn Classifier,
    audit: &Audit,
    range: (f32, f32),
    others: &[(&str, &Victim<'_>)],
) -> AuditRecord {
    let victim = victim(model);
    let examples = examples(&victim, 60, range);
    audit.run(&victim, &examples, others, Stream::new(3)).unwrap()
}

fn small(eps: f32) -> Audit {
    Audit { eps, n_steps: 10, n_queries: 60 }
}

fn failed(record: &AuditRecord) -> Vec<&str> {
    record.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect()
}

fn assert_fails(record: &AuditRecord, name: &str) {
    assert!(failed(record).contains(&name), "{name} is not among {:?}", failed(record));
    assert_eq!(record.verdict, AuditVerdict::Masked);
    assert!(record.words.contains(name), "{}", record.words);
}

#[test]
fn a_robust_linear_network_is_sound() {
    let model = Mlp::random_linear(5, 1);
    let twin = Mlp::random_linear(5, 2);
    let record = audit_with(&model, &small(0.005), (0.0, 1.0), &[("twin", &victim(&twin))]);
    assert_eq!((record.verdict, failed(&record)), (AuditVerdict::Sound, vec![]), "{record:?}");
    assert_eq!(record.checks.len(), 12);
    assert!(record.words.contains("60 correctly classified images"), "{}", record.words);
    assert!(record.checks.iter().all(|check| !check.figures.is_empty()));
}

#[test]
fn fewer_than_30_images_decide_nothing() {
    let model = Mlp::random_linear(5, 1);
    let victim = victim(&model);
    let examples = examples(&victim, 29, (0.0, 1.0));
    let record = small(0.005).run(&victim, &examples, &[], Stream::new(3)).unwrap();
    assert_eq!((record.verdict, record.n_images), (AuditVerdict::TooFewImages, Some(29)));
    assert!(record.words.contains("29 are classified correctly"), "{}", record.words);
}

#[test]
fn logits_that_float32_rounds_coarsely_are_noted() {
    let offset = |_: &Tensor, logits: Tensor| logits + 1e6;
    let record = audit(&Wrapped(Mlp::random_linear(5, 1), offset), &small(0.005), (0.0, 1.0));
    assert!(
        record.words.contains("Note the resolution: logits of about 1.0e6"),
        "{}",
        record.words
    );
    let record = audit(&Mlp::random_linear(5, 1), &small(0.005), (0.0, 1.0));
    assert!(!record.words.contains("resolution"), "{}", record.words);
}

#[test]
fn an_undefended_network_is_not_robust_but_hides_nothing() {
    let record = audit(&Mlp::random_linear(5, 1), &small(0.2), (0.45, 0.55));
    assert_eq!((record.verdict, failed(&record)), (AuditVerdict::NotRobust, vec![]), "{record:?}");
    assert_eq!(record.checks.len(), 11, "without others there is no transfer");
}

/// What distillation at temperature 100 does to a network, as seen at temperature 1.
#[test]
fn logits_times_100_are_masked() {
    let twin = Mlp::small(1);
    let record = audit_with(
        &Mlp::small(1).scaled(100.0),
        &small(0.3),
        (0.2, 0.8),
        &[("twin", &victim(&twin))],
    );
    for name in [
        "gradients-are-not-zero",
        "unbounded-eps-reaches-100-percent",
        "other-objectives-change-nothing",
        "white-box-beats-transfer",
        "white-box-beats-black-box",
    ] {
        assert_fails(&record, name);
    }
    assert!(record.words.contains("not to be believed"), "{}", record.words);
}

#[test]
fn probabilities_are_found() {
    let softmax = |_: &Tensor, logits: Tensor| {
        let exp = logits.exp()?;
        exp.broadcast_div(&exp.sum_keepdim(1)?)
    };
    let record = audit(&Wrapped(Mlp::small(1), softmax), &small(0.3), (0.2, 0.8));
    assert_eq!(failed(&record), ["outputs-are-logits"]);
    assert_eq!(record.verdict, AuditVerdict::Masked);
}

#[test]
fn a_random_forward_is_found() {
    let calls = AtomicU32::new(0);
    let jitter = move |_: &Tensor, logits: Tensor| {
        logits.affine(1.0 + 1e-3 * f64::from(calls.fetch_add(1, Ordering::Relaxed)), 0.0)
    };
    let record = audit(&Wrapped(Mlp::small(1), jitter), &small(0.3), (0.2, 0.8));
    assert_fails(&record, "forward-is-deterministic");
}

#[test]
fn gradients_that_are_not_finite_are_found() {
    // Nothing is added, but the square root's slope at 0 is infinite.
    let broken = |_: &Tensor, logits: Tensor| &logits + (&logits - logits.detach())?.sqrt()?;
    let record = audit(&Wrapped(Mlp::small(1), broken), &small(0.3), (0.2, 0.8));
    assert_fails(&record, "gradients-are-finite");
}

/// No gradient at all: only what needs none finds anything.
#[test]
fn lost_gradients_are_found() {
    let detached = |_: &Tensor, logits: Tensor| Ok(logits.detach());
    let record = audit(&Wrapped(Mlp::small(1), detached), &small(0.3), (0.2, 0.8));
    assert_fails(&record, "gradients-are-not-zero");
    assert_fails(&record, "white-box-beats-black-box");
    assert_fails(&record, "square-finds-nothing-new");
}

/// Gradients only right at the clean images: one step succeeds, and every further one stands
/// still.
#[test]
fn gradients_only_at_the_images_are_found() {
    let on_grid = |row: &[f32]| row.iter().all(|p| (p * 8.0).fract() == 0.0);
    let broken = move |images: &Tensor, logits: Tensor| keep_gradients(images, logits, on_grid);
    let model = Wrapped(Mlp::small(1), broken);
    let victim = victim(&model);
    let mut clean = examples(&victim, 60, (0.2, 0.8));
    clean.pixels.iter_mut().for_each(|p| *p = (*p * 8.0).round() / 8.0);
    let record = small(0.3).run(&victim, &clean, &[], Stream::new(3)).unwrap();
    assert_fails(&record, "iterative-beats-one-step");
    assert!(!failed(&record).contains(&"gradients-are-not-zero"), "{:?}", failed(&record));
}

/// Gradients only near the images: the larger ball gives fewer successes.
#[test]
fn gradients_that_end_with_the_radius_are_found() {
    let near = |row: &[f32]| row.iter().all(|p| (p - 0.5).abs() < 0.17);
    let broken = move |images: &Tensor, logits: Tensor| keep_gradients(images, logits, near);
    let record = audit(&Wrapped(Mlp::random_linear(5, 1), broken), &small(0.1), (0.45, 0.55));
    assert_fails(&record, "success-grows-with-eps");
    assert_fails(&record, "unbounded-eps-reaches-100-percent");
}

/// Gradients in half of the ball: a second start finds what the first does not.
#[test]
fn gradients_that_depend_on_the_start_are_found() {
    let half = |row: &[f32]| row[0] > 0.5;
    let broken = move |images: &Tensor, logits: Tensor| keep_gradients(images, logits, half);
    let record = audit(&Wrapped(Mlp::small(1), broken), &small(0.3), (0.45, 0.55));
    assert_fails(&record, "more-steps-change-nothing");
}

#[test]
fn the_same_seed_gives_the_same_record() {
    let model = Mlp::small(2);
    let run = || audit(&model, &small(0.1), (0.2, 0.8));
    assert_eq!(run(), run());
}

#[test]
fn bad_settings_are_refused() {
    let good = Audit::default();
    for bad in [
        Audit { eps: -0.1, ..good.clone() },
        Audit { eps: 0.0, ..good.clone() },
        Audit { eps: f32::NAN, ..good.clone() },
        Audit { n_steps: 0, ..good.clone() },
        Audit { n_queries: 0, ..good },
    ] {
        assert!(matches!(bad.check(), Err(Error::Config { .. })), "{bad:?}");
    }
    let model = Mlp::small(1);
    let victim = victim(&model);
    let mut wrong = examples(&victim, 3, (0.0, 1.0));
    wrong.labels.iter_mut().for_each(|label| *label = (*label + 1) % 5);
    assert_eq!(wrong.pixels.len(), 3 * N_PIXELS);
    let error = Audit::default().run(&victim, &wrong, &[], Stream::new(0)).unwrap_err().to_string();
    assert!(error.contains("none of the images"), "{error}");
}
