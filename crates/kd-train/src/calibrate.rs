//! The temperature at which probabilities mean what they say.

/// Temperatures that are looked at.
const RANGE: (f64, f64) = (0.05, 20.0);
/// Halvings of the range's logarithm, which is then below the last digit of an f32.
const N_HALVINGS: usize = 40;

/// The temperature T of least negative log-likelihood of `labels` under `softmax(logits / T)`, between
/// 0.05 and 20: temperature scaling (Guo et al. 2017, arXiv:1706.04599), on images that nothing was
/// learned from. `logits` are `(N, K)`, row-major.
///
/// Of N images, each counts as if it were of its label with probability `(N + 1) / (N + 2)`, and the other
/// K - 1 classes share the rest (Platt 1999's targets, for K classes): a network that errs on none of 30
/// images is sure to 97 %, not to the last digit.
///
/// The likelihood is log-concave in `1 / T`, and its derivative by that is the mean logit under the
/// probabilities less that under the targets: its one root is found by bisection.
pub fn calibrated_temperature(logits: &[f32], labels: &[u32], n_classes: usize) -> f64 {
    let (mut low, mut high) = (RANGE.0.ln(), RANGE.1.ln());
    for _ in 0..N_HALVINGS {
        let middle = f64::midpoint(low, high);
        match slope(logits, labels, (n_classes, middle.exp())) > 0.0 {
            // Too sure: it must become warmer.
            true => low = middle,
            false => high = middle,
        }
    }
    f64::midpoint(low, high).exp()
}

/// The derivative of the summed negative log-likelihood by `1 / T`.
fn slope(logits: &[f32], labels: &[u32], (n_classes, temperature): (usize, f64)) -> f64 {
    let rows = logits.chunks_exact(n_classes).zip(labels);
    let other = 1.0 / ((labels.len() + 2) * (n_classes - 1).max(1)) as f64;
    rows.map(|(row, &label)| {
        let likely = probabilities(row, temperature);
        let mean: f64 = likely.iter().zip(row).map(|(p, &z)| p * f64::from(z)).sum();
        let all: f64 = row.iter().map(|&z| f64::from(z)).sum();
        let own = 1.0 - n_classes as f64 * other;
        mean - other * all - own * f64::from(row[label as usize])
    })
    .sum()
}

/// `softmax(logits / temperature)` of one image.
pub fn probabilities(logits: &[f32], temperature: f64) -> Vec<f64> {
    let top = logits.iter().fold(f32::NEG_INFINITY, |top, z| top.max(*z));
    let weights: Vec<f64> =
        logits.iter().map(|z| (f64::from(z - top) / temperature).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two classes, the first is right in 3 of 4 cases and has a logit of 4 more. The targets of its
    /// label are 5/6 and 1/6: in the mean (3 * 5/6 + 1/6) / 4 = 2/3, which is the probability where the
    /// difference is ln 2.
    #[test]
    fn by_hand() {
        let logits = [4.0, 0.0].repeat(4);
        let temperature = calibrated_temperature(&logits, &[0, 0, 1, 0], 2);
        assert!((temperature - 4.0 / 2f64.ln()).abs() < 1e-6, "{temperature}");
    }

    #[test]
    fn logits_of_another_scale_have_another_temperature() {
        let logits: Vec<f32> = (0..300).map(|i| (i * 37 % 101) as f32 / 20.0).collect();
        let labels: Vec<u32> = (0..100).map(|i| (i * i % 7 % 3) as u32).collect();
        let doubled: Vec<f32> = logits.iter().map(|z| 2.0 * z).collect();
        let one = calibrated_temperature(&logits, &labels, 3);
        let two = calibrated_temperature(&doubled, &labels, 3);
        assert!((2.0 * one - two).abs() < 1e-6 || two > 19.9, "{one}, {two}");
    }

    /// Right on all of N images, it is as sure as N + 1 of N + 2.
    #[test]
    fn a_network_that_is_never_wrong_is_as_sure_as_its_number_of_images_allows() {
        for n in [5, 100] {
            let logits = [1.0, 0.0, 0.0].repeat(n);
            let temperature = calibrated_temperature(&logits, &vec![0; n], 3);
            // exp(1/T) / (exp(1/T) + 2) = (n + 1) / (n + 2)
            let want = 1.0 / (2.0 * (n as f64 + 1.0)).ln();
            assert!((temperature - want).abs() < 1e-6, "{temperature} {want}");
        }
        let wrong = calibrated_temperature(&[1.0, 0.0].repeat(5), &[1; 5], 2);
        assert!((wrong - RANGE.1).abs() < 1e-3);
    }
}
