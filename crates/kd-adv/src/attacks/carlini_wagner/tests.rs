use kd_core::Stream;

use super::*;
use crate::testing::{Mlp, N_PIXELS, bits, examples, predictions, successes, targeted, victim};

fn run(attack: &CarliniWagner, victim: &Victim<'_>, examples: &Examples) -> Vec<f32> {
    attack.check().unwrap();
    attack.run(victim, examples, Stream::new(0)).unwrap()
}

fn distance(examples: &Examples, images: &[f32], i: usize) -> f64 {
    Norm::L2.distance(&images[i * N_PIXELS..][..N_PIXELS], examples.image(i))
}

/// The weights' difference leads to the boundary, and no pixel leaves the box on the way.
#[test]
fn on_a_linear_network_the_distance_is_that_of_the_boundary() {
    let model = Mlp::random_linear(2, 3);
    let victim = victim(&model);
    let examples = examples(&victim, 12, (0.1, 0.9));
    let images = run(&CarliniWagner::default(), &victim, &examples);
    assert!(successes(&victim, &examples, &images).into_iter().all(|s| s));
    let (rows, logits) = (model.weight_rows(), victim.logits(&examples.pixels).unwrap());
    for (i, z) in logits.chunks_exact(2).enumerate() {
        let want = f64::from((z[0] - z[1]).abs()) / Norm::L2.distance(&rows[0], &rows[1]);
        let got = distance(&examples, &images, i);
        let near = got > want - 1e-5 && got < 1.005 * want + 2e-4;
        assert!(near, "example {i}: {got}, boundary at {want}");
    }
}

/// Where the network is asked in every step, the images are about as near.
#[test]
fn expansions_cost_little_distance() {
    let model = Mlp::small(3);
    let victim = victim(&model);
    let examples = examples(&victim, 5, (0.1, 0.9));
    let exact = CarliniWagner { n_searches: 6, n_steps: 300, ..CarliniWagner::default() };
    let images = run(&CarliniWagner { tolerance: 0.005, ..exact.clone() }, &victim, &examples);
    let exact = run(&exact, &victim, &examples);
    for i in 0..examples.len() {
        let (got, want) = (distance(&examples, &images, i), distance(&examples, &exact, i));
        assert!(got < 1.02 * want, "example {i}: {got}, {want} without");
    }
}

#[test]
fn a_success_has_the_margin_kappa() {
    let model = Mlp::random_linear(5, 5);
    let victim = victim(&model);
    let examples = examples(&victim, 10, (0.3, 0.7));
    let mut last = 0.0;
    for kappa in [0.0, 2.0] {
        let attack =
            CarliniWagner { kappa, n_searches: 6, n_steps: 300, ..CarliniWagner::default() };
        let images = run(&attack, &victim, &examples);
        let logits = victim.logits(&images).unwrap();
        let mut mean = 0.0;
        for (i, z) in logits.chunks_exact(5).enumerate() {
            let margin = margin(&examples, i, z, &mut [0.0; 5]);
            assert!(margin > 0.0 && margin >= kappa, "example {i}: {margin}");
            mean += distance(&examples, &images, i) / 10.0;
        }
        assert!(mean > 1.05 * last, "{mean} after {last}");
        last = mean;
    }
}

#[test]
fn pixels_of_exactly_0_and_1_can_move() {
    let model = Mlp::random_linear(3, 9);
    let victim = victim(&model);
    let mut examples = examples(&victim, 4, (0.0, 1.0));
    examples.pixels.iter_mut().for_each(|pixel| *pixel = pixel.round());
    examples.labels = predictions(&victim, &examples.pixels);
    let images = run(&CarliniWagner::default(), &victim, &examples);
    assert!(successes(&victim, &examples, &images).into_iter().all(|s| s));
    assert!(images.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
}

#[test]
fn a_targeted_attack_reaches_its_target_and_an_untargeted_one_is_nearer() {
    let model = Mlp::random_linear(5, 6);
    let victim = victim(&model);
    let free = examples(&victim, 10, (0.3, 0.7));
    let aimed = targeted(free.clone(), 5);
    let attack = CarliniWagner { n_searches: 6, n_steps: 300, ..CarliniWagner::default() };
    let (near, images) = (run(&attack, &victim, &free), run(&attack, &victim, &aimed));
    assert!(successes(&victim, &aimed, &images).into_iter().all(|s| s));
    for i in 0..free.len() {
        assert!(distance(&free, &near, i) <= 1.05 * distance(&free, &images, i));
    }
}

#[test]
fn each_image_alone_gives_the_same_bits() {
    let model = Mlp::small(4);
    let victim = victim(&model);
    let examples = examples(&victim, 12, (0.0, 1.0));
    let attack = CarliniWagner { n_searches: 5, n_steps: 200, ..CarliniWagner::default() };
    let images = run(&attack, &victim, &examples);
    for i in [0, 5, 11] {
        let alone = run(&attack, &victim, &examples.select(&[i]));
        assert_eq!(bits(&alone), bits(&images[i * N_PIXELS..][..N_PIXELS]));
    }
}

#[test]
fn without_success_or_need_an_image_stays_as_it_is() {
    let model = Mlp::linear(&[0.0; 2 * N_PIXELS], &[1.0, 0.0]);
    let victim = victim(&model);
    let mut examples = examples(&victim, 2, (0.0, 1.0));
    examples.labels[1] = 1;
    let images = run(&CarliniWagner::default(), &victim, &examples);
    assert_eq!(bits(&images), bits(&examples.pixels));
    assert!(run(&CarliniWagner::default(), &victim, &Examples::default()).is_empty());
}

#[test]
fn large_logits_are_as_easy_as_small_ones() {
    let scaled = |factor: f64| {
        let model = Mlp::small(2).scaled(factor);
        let victim = victim(&model);
        let examples = examples(&victim, 6, (0.2, 0.8));
        let images = run(&CarliniWagner::default(), &victim, &examples);
        assert!(successes(&victim, &examples, &images).into_iter().all(|s| s));
        (0..6).map(|i| distance(&examples, &images, i)).sum::<f64>()
    };
    let (small, large) = (scaled(1.0), scaled(100.0));
    assert!((large / small - 1.0).abs() < 0.03, "{small}, {large} with logits times 100");
}

#[test]
fn bad_settings_are_refused() {
    let refused = |attack: CarliniWagner, field: &str| {
        let error = attack.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{field}`")), "{error}");
    };
    let good = CarliniWagner::default();
    refused(CarliniWagner { kappa: -1.0, ..good.clone() }, "kappa");
    refused(CarliniWagner { learning_rate: f32::NAN, ..good.clone() }, "learning_rate");
    refused(CarliniWagner { n_steps: 0, ..good.clone() }, "n_steps");
    refused(CarliniWagner { n_searches: 0, ..good.clone() }, "n_searches");
    refused(CarliniWagner { initial_const: 0.0, ..good.clone() }, "initial_const");
    refused(CarliniWagner { tolerance: -0.1, ..good }, "tolerance");
}
