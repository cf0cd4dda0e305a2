//! Attacks on linear networks, whose best adversarial image is known in closed form.

use kd_core::Stream;

use crate::attacks::*;
use crate::testing::{Mlp, N_PIXELS, examples, successes, victim};
use crate::{AttackSpec, Examples, Norm, Victim, attack};

const N: usize = 40;
const EPS: f32 = 0.03;

/// Four classes of which only the first two can win, so that DLR, too, is defined.
fn two_of_four() -> Mlp {
    let mut weight = Mlp::random_linear(2, 7).weight_rows();
    let on_gray = |row: &Vec<f32>| -0.5 * row.iter().sum::<f32>();
    let bias = [on_gray(&weight[0]), on_gray(&weight[1]), -60.0, -70.0];
    weight.extend([vec![0.0; N_PIXELS], vec![0.0; N_PIXELS]]);
    Mlp::linear(&weight.concat(), &bias)
}

/// The best image in the L-infinity ball and the box: `clip(x + eps * sign(w_other - w_label))`.
fn optima(model: &Mlp, examples: &Examples) -> Vec<f32> {
    let rows = model.weight_rows();
    let best = |(at, x): (usize, &f32)| {
        let label = examples.labels[at / N_PIXELS] as usize;
        let toward = rows[1 - label][at % N_PIXELS] - rows[label][at % N_PIXELS];
        (x + EPS * toward.signum()).clamp(0.0, 1.0)
    };
    examples.pixels.iter().enumerate().map(best).collect()
}

/// `z_label - z_other` for each image.
fn margins(victim: &Victim<'_>, examples: &Examples, pixels: &[f32]) -> Vec<f32> {
    let logits = victim.logits(pixels).unwrap();
    let margin = |(i, z): (usize, &[f32])| {
        let label = examples.labels[i] as usize;
        z[label] - z[1 - label]
    };
    logits.chunks_exact(4).enumerate().map(margin).collect()
}

/// Images near gray, so that the radius decides on about half of them; some pixels at 0 and 1.
fn some_examples(victim: &Victim<'_>) -> Examples {
    let mut examples = examples(victim, N, (0.35, 0.65));
    for (i, image) in examples.pixels.chunks_exact_mut(N_PIXELS).enumerate() {
        (image[i % N_PIXELS], image[(i + 5) % N_PIXELS]) = (0.0, 1.0);
    }
    examples.labels = crate::testing::predictions(victim, &examples.pixels);
    examples
}

fn run(spec: &AttackSpec, victim: &Victim<'_>, examples: &Examples) -> Vec<f32> {
    attack(spec, victim, examples, Stream::new(1)).unwrap().pixels
}

#[test]
fn gradient_signs_lead_to_the_best_image_of_the_ball() {
    let model = two_of_four();
    let victim = victim(&model);
    let examples = some_examples(&victim);
    let want = optima(&model, &examples);
    let (eps, step_size) = (EPS, Some(EPS / 10.0));
    // From a random start the other side of the ball is 2 eps away.
    let specs = [
        AttackSpec::Fgsm(Fgsm { eps, ..Fgsm::default() }),
        AttackSpec::Bim(Bim { eps, step_size, ..Bim::default() }),
        AttackSpec::MiFgsm(MiFgsm { eps, ..MiFgsm::default() }),
        AttackSpec::Pgd(Pgd { eps, step_size, ..Pgd::default() }),
        AttackSpec::Pgd(Pgd { eps, step_size, restarts: 3, ..Pgd::default() }),
    ];
    for spec in specs {
        let pixels = run(&spec, &victim, &examples);
        for (at, (got, want)) in pixels.iter().zip(&want).enumerate() {
            assert!((got - want).abs() < 1e-6, "{}, value {at}: {got}, {want}", spec.name());
        }
    }
}

#[test]
fn in_a_ball_attacks_succeed_exactly_where_success_is_possible() {
    let model = two_of_four();
    let victim = victim(&model);
    let examples = some_examples(&victim);
    let best = margins(&victim, &examples, &optima(&model, &examples));
    let n_possible = best.iter().filter(|margin| **margin < 0.0).count();
    assert!((10..N - 10).contains(&n_possible), "{n_possible}");
    let eps = EPS;
    let specs = [
        AttackSpec::Fgsm(Fgsm { eps, ..Fgsm::default() }),
        AttackSpec::Apgd(Apgd { eps, ..Apgd::default() }),
        AttackSpec::Apgd(Apgd::targeted(Norm::Linf, eps)),
        AttackSpec::Fab(Fab { eps: Some(eps), ..Fab::default() }),
        AttackSpec::AutoAttack(AutoAttack {
            eps,
            n_steps: 50,
            n_queries: 100,
            ..AutoAttack::default()
        }),
    ];
    for spec in specs {
        let found = successes(&victim, &examples, &run(&spec, &victim, &examples));
        for (i, (found, best)) in found.iter().zip(&best).enumerate() {
            // So near to the border, the last thousandth of the way decides.
            let decided = best.abs() > 0.01;
            assert!(!decided || *found == (*best < 0.0), "{}, {i}: {best}", spec.name());
        }
    }
}

/// APGD returns the best point that it saw: where it cannot succeed, the optimum all the same.
#[test]
fn apgd_comes_to_the_best_image_without_success() {
    let model = two_of_four();
    let victim = victim(&model);
    let examples = some_examples(&victim);
    let want = margins(&victim, &examples, &optima(&model, &examples));
    let spec = AttackSpec::Apgd(Apgd { eps: EPS, ..Apgd::default() });
    let got = margins(&victim, &examples, &run(&spec, &victim, &examples));
    for (i, (got, want)) in got.iter().zip(&want).enumerate().filter(|(_, (_, w))| **w > 0.01) {
        assert!((got - want).abs() < 1e-3, "{i}: {got}, {want}");
    }
}

/// The distance to the nearest border: `min_k (z_label - z_k) / |w_label - w_k|` in the dual norm.
fn distances(model: &Mlp, victim: &Victim<'_>, examples: &Examples, norm: Norm) -> Vec<f64> {
    let rows = model.weight_rows();
    let length = |a: &[f32], b: &[f32]| -> f64 {
        match norm {
            Norm::L2 => Norm::L2.distance(a, b),
            _ => a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum(),
        }
    };
    let logits = victim.logits(&examples.pixels).unwrap();
    let nearest = |(i, z): (usize, &[f32])| {
        let label = examples.labels[i] as usize;
        let others = (0..rows.len()).filter(|k| *k != label);
        let to = |k: usize| f64::from(z[label] - z[k]) / length(&rows[label], &rows[k]);
        others.map(to).fold(f64::INFINITY, f64::min)
    };
    logits.chunks_exact(rows.len()).enumerate().map(nearest).collect()
}

#[test]
fn the_nearest_adversarial_image_is_found() {
    let model = Mlp::random_linear(4, 9);
    let victim = victim(&model);
    // So near to gray that the box is out of reach, and not so near to the border that one step of
    // Adam goes too far.
    let near_gray = examples(&victim, 60, (0.35, 0.65));
    let far = distances(&model, &victim, &near_gray, Norm::L2);
    let examples = near_gray.select(&(0..60).filter(|i| far[*i] > 0.05).collect::<Vec<_>>());
    assert!(examples.len() > 10, "{}", examples.len());
    let fab = |norm| AttackSpec::Fab(Fab { norm, ..Fab::default() });
    let specs = [
        (AttackSpec::DeepFool(DeepFool::default()), Norm::L2, 1.03),
        (fab(Norm::L2), Norm::L2, 1.03),
        (fab(Norm::Linf), Norm::Linf, 1.03),
    ];
    for (spec, norm, most) in specs {
        let pixels = run(&spec, &victim, &examples);
        assert!(!successes(&victim, &examples, &pixels).contains(&false), "{}", spec.name());
        let want = distances(&model, &victim, &examples, norm);
        for (i, image) in pixels.chunks_exact(N_PIXELS).enumerate() {
            let (got, want) = (norm.distance(image, examples.image(i)), want[i]);
            // DeepFool adds 1e-4 to each step.
            let near = got > 0.999 * want && got < most * want + 1.1e-4;
            assert!(near, "{} {norm:?}, {i}: {got}, {want}", spec.name());
        }
    }
}
