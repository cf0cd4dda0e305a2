//! How large logits and gradients are: where a network hides its gradients, this shows it before
//! any attack is run.

use kd_core::Result;
use kd_core::record::CensusRecord;

use crate::objective::order;
use crate::{Examples, Norm, Objective, Victim};

/// Logits of the clean images, and the gradient of the cross entropy `-log softmax(z)_y` with
/// respect to their pixels, as FGSM and PGD see it: in f32, where the softmax of a network whose
/// logits are far apart is exactly 0 or 1 and the gradient nothing (Carlini and Wagner 2016,
/// arXiv:1607.04311, section 4). Seed and names are left for the caller.
///
/// # Errors
/// As [`Examples::check`] and [`Victim::pullback`].
pub fn census(victim: &Victim<'_>, examples: &Examples) -> Result<CensusRecord> {
    examples.check(victim.n_pixels(), victim.n_classes())?;
    let objective = Objective::default();
    let pullback = victim.pullback(&examples.pixels, |i, logits, seeds| {
        objective.value(logits, examples.labels[i] as usize, None, seeds);
    })?;
    let logits: Vec<&[f32]> = pullback.logits.chunks_exact(victim.n_classes()).collect();
    let grads: Vec<&[f32]> = pullback.pixels.chunks_exact(victim.n_pixels()).collect();
    let zeros = |grad: &[f32]| grad.iter().filter(|g| **g == 0.0).count();
    Ok(CensusRecord {
        total: examples.len(),
        zero_gradients: grads.iter().filter(|grad| zeros(grad) == grad.len()).count(),
        non_finite_gradients: grads.iter().filter(|g| g.iter().any(|v| !v.is_finite())).count(),
        zero_fraction: zeros(&pullback.pixels) as f64 / pullback.pixels.len().max(1) as f64,
        mean_gradient_norm: mean(&grads, |grad| Norm::L2.length(grad)),
        mean_logit_norm: mean(&logits, |logits| Norm::L2.length(logits)),
        mean_logit_gap: mean(&logits, gap),
        ..CensusRecord::default()
    })
}

/// The largest logit less the second largest.
fn gap(logits: &[f32]) -> f64 {
    match order(logits)[..] {
        [first, second, ..] => f64::from(logits[first]) - f64::from(logits[second]),
        _ => 0.0,
    }
}

fn mean(rows: &[&[f32]], f: fn(&[f32]) -> f64) -> f64 {
    rows.iter().map(|row| f(row)).sum::<f64>() / rows.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Mlp, N_PIXELS, victim};

    /// Logits `(8 x_0, 0)`: the gap of an image is eight times its first pixel.
    fn eightfold() -> Mlp {
        let mut weight = vec![0.0; 2 * N_PIXELS];
        weight[0] = 8.0;
        Mlp::linear(&weight, &[0.0; 2])
    }

    fn two_images() -> Examples {
        let mut pixels = vec![0.0; 2 * N_PIXELS];
        (pixels[0], pixels[N_PIXELS]) = (0.5, 1.0);
        Examples { pixels, labels: vec![0; 2], indices: vec![0, 1], targets: None }
    }

    #[test]
    fn a_linear_network_by_hand() {
        let model = eightfold();
        let record = census(&victim(&model), &two_images()).unwrap();
        assert_eq!((record.total, record.zero_gradients, record.non_finite_gradients), (2, 0, 0));
        assert!((record.zero_fraction - 23.0 / 24.0).abs() < 1e-12);
        assert!((record.mean_logit_norm - 6.0).abs() < 1e-6);
        assert!((record.mean_logit_gap - 6.0).abs() < 1e-6);
        // 8 (1 - p) with p = 1 / (1 + e^-gap), where f32 keeps three digits of 1 - p.
        let slope = |gap: f64| 8.0 / (1.0 + gap.exp());
        let want = (slope(4.0) + slope(8.0)) / 2.0;
        assert!((record.mean_gradient_norm - want).abs() < 1e-3 * want);
    }

    #[test]
    fn a_saturated_network_has_no_gradients() {
        // Gaps 400 and 800: exp(-400) is 0 in f32.
        let model = eightfold().scaled(100.0);
        let record = census(&victim(&model), &two_images()).unwrap();
        assert_eq!((record.zero_gradients, record.non_finite_gradients), (2, 0));
        assert_eq!(record.zero_fraction.to_bits(), 1.0_f64.to_bits());
        assert_eq!(record.mean_gradient_norm.to_bits(), 0.0_f64.to_bits());
        assert!((record.mean_logit_gap - 600.0).abs() < 1e-3);
    }
}
