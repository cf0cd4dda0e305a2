//! What every attack of the registry owes: a new one cannot skip these tests.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Tensor;
use kd_core::{Classifier, Error, Mode, Params, Result, Stream};
use serde_json::{Value, from_value, to_value};

use crate::testing::{Mlp, N_PIXELS, bits, examples, successes, targeted, victim};
use crate::{AttackSpec, Attacked, Examples, Victim, attack};

/// Settings that say how long an attack works, and what is enough on networks as small as these.
const LENGTHS: [(&str, u64); 3] = [("n_steps", 60), ("n_queries", 300), ("n_searches", 5)];

/// Every attack with its default settings, but not working for long.
fn all() -> Vec<AttackSpec> {
    let shorten = |spec: AttackSpec| {
        let mut settings = to_value(&spec).unwrap();
        for (name, enough) in LENGTHS {
            if let Some(length) = settings.get_mut(name) {
                *length = length.as_u64().unwrap().min(enough).into();
            }
        }
        from_value(settings).unwrap()
    };
    AttackSpec::all().into_iter().map(shorten).collect()
}

/// Those with a ball.
fn bounded() -> Vec<AttackSpec> {
    all().into_iter().filter(|spec| spec.as_dyn().eps().is_some()).collect()
}

fn run(spec: &AttackSpec, victim: &Victim<'_>, examples: &Examples) -> Attacked {
    attack(spec, victim, examples, Stream::new(1))
        .unwrap_or_else(|e| panic!("{}: {e}", spec.name()))
}

/// A network, and images with many pixels at 0 and 1.
static MODEL: LazyLock<Mlp> = LazyLock::new(|| Mlp::small(1));

fn images(victim: &Victim<'_>) -> Examples {
    examples(victim, 8, (-0.5, 1.5))
}

#[test]
fn settings_survive_serde_and_unknown_ones_are_refused() {
    for spec in AttackSpec::all() {
        spec.as_dyn().check().unwrap();
        let mut settings = to_value(&spec).unwrap();
        assert_eq!(settings["kind"], spec.name());
        assert_eq!(from_value::<AttackSpec>(settings.clone()).unwrap(), spec);
        let kind_alone: Value = serde_json::json!({ "kind": spec.name() });
        assert_eq!(from_value::<AttackSpec>(kind_alone).unwrap(), spec);
        settings["no_such_setting"] = 1.into();
        let error = from_value::<AttackSpec>(settings).unwrap_err().to_string();
        assert!(error.contains("no_such_setting"), "{}: {error}", spec.name());
    }
}

#[test]
fn a_radius_of_0_leaves_the_images_as_they_are() {
    let victim = victim(&*MODEL);
    let examples = images(&victim);
    for spec in bounded().iter().map(|spec| spec.with_eps(0.0).unwrap()) {
        let pixels = run(&spec, &victim, &examples).pixels;
        assert_eq!(bits(&pixels), bits(&examples.pixels), "{}", spec.name());
    }
}

#[test]
fn a_radius_outside_its_domain_is_refused() {
    for (spec, eps) in bounded()
        .into_iter()
        .flat_map(|spec| [-0.1, f32::NAN, f32::INFINITY].map(|e| (spec.clone(), e)))
    {
        let bad = spec.with_eps(eps).unwrap();
        let error = bad.as_dyn().check().unwrap_err();
        let named = matches!(&error, Error::Config { field, .. } if field.ends_with("eps"));
        assert!(named, "{} with eps = {eps}: {error}", spec.name());
    }
}

#[test]
fn another_radius_is_kept_and_stays_acceptable() {
    for (spec, eps) in bounded().iter().flat_map(|spec| [0.0, 1e-3, 0.5, 1.0].map(|e| (spec, e))) {
        let other = spec.with_eps(eps).unwrap();
        assert_eq!((other.name(), other.as_dyn().eps()), (spec.name(), Some(eps)));
        other.as_dyn().check().unwrap();
    }
}

/// `attack` itself checks the ball; here it is measured once more, from the images.
#[test]
fn images_stay_in_the_ball_and_in_the_box() {
    let victim = victim(&*MODEL);
    let examples = images(&victim);
    for spec in all() {
        let pixels = run(&spec, &victim, &examples).pixels;
        assert_eq!(pixels.len(), examples.pixels.len());
        assert!(pixels.iter().all(|p| (0.0..=1.0).contains(p)), "{}", spec.name());
        let Some(eps) = spec.as_dyn().eps() else { continue };
        for (i, image) in pixels.chunks_exact(N_PIXELS).enumerate() {
            let distance = spec.as_dyn().norm().distance(image, examples.image(i));
            assert!(distance <= f64::from(eps) + 1e-6, "{}, {i}: {distance}", spec.name());
        }
    }
}

/// The same bits from the same stream, on one thread and on two, and for an example alone.
#[test]
fn results_depend_on_the_example_and_the_stream_alone() {
    let victim = victim(&*MODEL);
    let examples = images(&victim);
    let on_threads = |n: usize, spec: &AttackSpec| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| run(spec, &victim, &examples).pixels)
    };
    for spec in all() {
        let name = spec.name();
        let want = on_threads(1, &spec);
        assert_eq!(bits(&on_threads(2, &spec)), bits(&want), "{name}: two threads");
        for i in [0, 5] {
            let alone = run(&spec, &victim, &examples.select(&[i])).pixels;
            assert_eq!(bits(&alone), bits(&want[i * N_PIXELS..][..N_PIXELS]), "{name}: {i} alone");
        }
        let order = [3, 5, 0];
        let reordered = run(&spec, &victim, &examples.select(&order)).pixels;
        for (image, i) in reordered.chunks_exact(N_PIXELS).zip(order) {
            assert_eq!(bits(image), bits(&want[i * N_PIXELS..][..N_PIXELS]), "{name}: {i} of 3");
        }
    }
}

/// On a linear network no gradient misleads, so that no attack has an excuse.
#[test]
fn success_rises_with_the_radius_up_to_all_images() {
    let model = Mlp::random_linear(4, 2);
    let victim = victim(&model);
    let examples = examples(&victim, 20, (0.2, 0.8));
    for spec in bounded() {
        let n_successes = |eps: f32| {
            let spec = spec.with_eps(eps).unwrap();
            run(&spec, &victim, &examples).successes.into_iter().filter(|s| *s).count()
        };
        let counts = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 1.0].map(n_successes);
        assert!(counts.is_sorted(), "{}: {counts:?}", spec.name());
        assert_eq!((counts[0], counts[6]), (0, 20), "{}: {counts:?}", spec.name());
    }
}

#[test]
fn targets_are_reached_or_refused() {
    // A linear network, where every class wins in some corner of the ball.
    let model = Mlp::random_linear(5, 2);
    let victim = victim(&model);
    let examples = targeted(examples(&victim, 10, (0.3, 0.7)), 5);
    for spec in all() {
        let spec = spec.with_eps(0.4).unwrap_or(spec);
        match attack(&spec, &victim, &examples, Stream::new(1)) {
            Ok(attacked) => {
                let reached = successes(&victim, &examples, &attacked.pixels);
                assert_eq!(reached, attacked.successes);
                let n = reached.into_iter().filter(|r| *r).count();
                assert_eq!(n, 10, "{}", spec.name());
            }
            Err(Error::Config { field, reason }) => {
                assert!(
                    format!("{field} {reason}").contains("target"),
                    "{}: {reason}",
                    spec.name()
                );
            }
            Err(other) => panic!("{}: {other}", spec.name()),
        }
    }
}

/// What the networks cannot be made to do, attacks must survive: one class only ever, one image.
#[test]
fn a_network_that_never_errs_leaves_every_attack_without_success() {
    let constant = Mlp::random_linear(5, 3).with_output(|z| {
        let row = candle_core::Tensor::new(&[[3.0_f32, 2.0, 1.0, 0.0, -1.0]], z.device())?;
        z.zeros_like()?.broadcast_add(&row)
    });
    let victim = victim(&constant);
    let examples = images(&victim);
    for spec in all() {
        let attacked = run(&spec, &victim, &examples);
        assert_eq!(attacked.successes, [false; 8], "{}", spec.name());
        if spec.as_dyn().eps().is_none() {
            assert_eq!(bits(&attacked.pixels), bits(&examples.pixels), "{}", spec.name());
        }
    }
}

/// Counts the images that go through a network.
struct Counted<'a> {
    model: &'a Mlp,
    n_images: AtomicUsize,
}

impl Classifier for Counted<'_> {
    fn forward(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.n_images.fetch_add(images.dim(0)?, Ordering::Relaxed);
        self.model.forward(images, mode)
    }

    fn n_classes(&self) -> usize {
        self.model.n_classes()
    }

    fn params(&self) -> &Params {
        self.model.params()
    }
}

/// An image that goes through without a gradient is a third of a pass; JSMA counts one class of all.
#[test]
fn no_attack_takes_more_passes_than_it_says() {
    for spec in all() {
        let counted = Counted { model: &MODEL, n_images: AtomicUsize::new(0) };
        let victim = victim(&counted);
        let examples = images(&victim);
        let before = counted.n_images.load(Ordering::Relaxed);
        run(&spec, &victim, &examples);
        let n = counted.n_images.load(Ordering::Relaxed) - before;
        let said = spec.as_dyn().n_passes(N_PIXELS) * if spec.name() == "jsma" { 5 } else { 1 };
        let most = 3 * examples.len() * (said + 1);
        assert!(n <= most, "{}: {n} of {most}", spec.name());
    }
}
