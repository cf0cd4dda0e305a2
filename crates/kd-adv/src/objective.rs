//! What an attack makes larger: functions of one example's logits, with their gradients.
//!
//! All are computed in f32, as the published attacks do: where the softmax of a confident network
//! saturates, the gradient of the cross entropy is exactly 0 here too, which is the masking that an
//! audit has to see. The margins do not saturate.

use kd_core::{Error, Result, positive};
use serde::{Deserialize, Serialize};

/// A loss that an adversary maximizes, of the logits divided by `temperature`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objective {
    /// Which loss.
    pub kind: ObjectiveKind,
    /// T > 0 that divides the logits first: at a distilled network's training temperature it
    /// undoes the saturation of its softmax (Carlini and Wagner 2016, arXiv:1607.04311).
    pub temperature: f32,
}

/// The losses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// `-log softmax(z)_y`.
    #[default]
    CrossEntropy,
    /// `max_{i != y} z_i - z_y`, above 0 when misclassified (Carlini and Wagner 2017, f6).
    Margin,
    /// `-(z_y - max_{i != y} z_i) / (z_pi1 - z_pi3 + 1e-12)`, pi the order of decreasing logits;
    /// unchanged when all logits are multiplied (Croce and Hein 2020, arXiv:2003.01690). Toward a
    /// target `-(z_y - z_t) / (z_pi1 - (z_pi3 + z_pi4) / 2 + 1e-12)`.
    Dlr,
}

impl Default for Objective {
    /// Cross entropy of the logits as they are.
    fn default() -> Self {
        Self { kind: ObjectiveKind::CrossEntropy, temperature: 1.0 }
    }
}

impl Objective {
    /// Refuses a temperature outside its domain.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        positive("objective.temperature", self.temperature)
    }

    /// Refuses a network with too few classes: DLR divides by a difference of the first and third
    /// (toward a target: and fourth) logit.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check_classes(&self, n_classes: usize, targeted: bool) -> Result<()> {
        let least = match self.kind {
            ObjectiveKind::Dlr => 3 + usize::from(targeted),
            _ => 2,
        };
        if n_classes >= least {
            return Ok(());
        }
        let reason = format!("{:?} needs at least {least} classes, not {n_classes}", self.kind);
        Err(Error::config("objective.kind", reason))
    }

    /// The value for one example, and its gradient with respect to the logits, written to `seeds`.
    /// With a target, the value is large where the network predicts the target: cross entropy is
    /// `log softmax(z)_t`, the margin `z_t - max_{i != t} z_i`.
    pub fn value(
        &self,
        logits: &[f32],
        label: usize,
        target: Option<usize>,
        seeds: &mut [f32],
    ) -> f32 {
        let scaled: Vec<f32> = logits.iter().map(|z| z / self.temperature).collect();
        let value = match (self.kind, target) {
            (ObjectiveKind::CrossEntropy, None) => cross_entropy(&scaled, label, 1.0, seeds),
            (ObjectiveKind::CrossEntropy, Some(t)) => cross_entropy(&scaled, t, -1.0, seeds),
            (ObjectiveKind::Margin, None) => margin(&scaled, label, 1.0, seeds),
            (ObjectiveKind::Margin, Some(t)) => margin(&scaled, t, -1.0, seeds),
            (ObjectiveKind::Dlr, None) => dlr(&scaled, label, seeds),
            (ObjectiveKind::Dlr, Some(t)) => targeted_dlr(&scaled, label, t, seeds),
        };
        seeds.iter_mut().for_each(|seed| *seed /= self.temperature);
        value
    }
}

/// `factor * -log softmax(z)_k`.
fn cross_entropy(logits: &[f32], k: usize, factor: f32, seeds: &mut [f32]) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let log_sum = max + logits.iter().map(|z| (z - max).exp()).sum::<f32>().ln();
    for (seed, z) in seeds.iter_mut().zip(logits) {
        *seed = factor * (z - log_sum).exp();
    }
    seeds[k] -= factor;
    factor * (log_sum - logits[k])
}

/// `factor * (max_{i != k} z_i - z_k)`.
fn margin(logits: &[f32], k: usize, factor: f32, seeds: &mut [f32]) -> f32 {
    let other = best_other(logits, k);
    seeds.fill(0.0);
    (seeds[other], seeds[k]) = (factor, -factor);
    factor * (logits[other] - logits[k])
}

fn dlr(logits: &[f32], label: usize, seeds: &mut [f32]) -> f32 {
    let order = order(logits);
    let range = logits[order[0]] - logits[order[2]] + 1e-12;
    let other = best_other(logits, label);
    let value = (logits[other] - logits[label]) / range;
    quotient(value, range, (other, label), &[(order[0], 1.0), (order[2], -1.0)], seeds);
    value
}

fn targeted_dlr(logits: &[f32], label: usize, target: usize, seeds: &mut [f32]) -> f32 {
    let order = order(logits);
    let range = logits[order[0]] - 0.5 * (logits[order[2]] + logits[order[3]]) + 1e-12;
    let value = (logits[target] - logits[label]) / range;
    let below = [(order[0], 1.0), (order[2], -0.5), (order[3], -0.5)];
    quotient(value, range, (target, label), &below, seeds);
    value
}

/// The gradient of `value = (z_up - z_down) / range`, where `below` has the gradient of `range`.
fn quotient(
    value: f32,
    range: f32,
    (up, down): (usize, usize),
    below: &[(usize, f32)],
    seeds: &mut [f32],
) {
    seeds.fill(0.0);
    seeds[up] += 1.0 / range;
    seeds[down] -= 1.0 / range;
    below.iter().for_each(|&(k, weight)| seeds[k] -= value * weight / range);
}

/// The class other than `k` with the largest logit; the first among equals.
pub(crate) fn best_other(logits: &[f32], k: usize) -> usize {
    let mut best = usize::from(k == 0);
    for (i, z) in logits.iter().enumerate() {
        if i != k && *z > logits[best] {
            best = i;
        }
    }
    best
}

/// Classes by decreasing logit; equals by class.
pub(crate) fn order(logits: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{floats, golden, numbers};
    use ObjectiveKind::{CrossEntropy, Dlr, Margin};
    use kd_core::argmax;

    const KINDS: [ObjectiveKind; 3] = [CrossEntropy, Margin, Dlr];

    fn objective(kind: ObjectiveKind, temperature: f32) -> Objective {
        Objective { kind, temperature }
    }

    /// Value and gradient.
    fn eval(
        objective: Objective,
        logits: &[f32],
        label: usize,
        target: Option<usize>,
    ) -> (f32, Vec<f32>) {
        // Not zeros: the gradient must be written whole.
        let mut seeds = vec![7.0; logits.len()];
        let value = objective.value(logits, label, target, &mut seeds);
        (value, seeds)
    }

    fn assert_close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
        assert_eq!(got.len(), want.len(), "{what}");
        for (got, want) in got.iter().zip(want) {
            let close = (f64::from(*got) - want).abs() <= tolerance * (1.0 + want.abs());
            assert!(close, "{what}: {got}, want {want}");
        }
    }

    #[test]
    fn values_by_hand() {
        let logits = [1.0, 4.0, 3.0, 0.0];
        let value = |kind, t, label, target| eval(objective(kind, t), &logits, label, target).0;
        let log_sum = f64::ln([1.0_f64, 4.0, 3.0, 0.0].iter().map(|z| z.exp()).sum());
        let cases = [
            (value(CrossEntropy, 1.0, 1, None), log_sum - 4.0),
            (value(CrossEntropy, 1.0, 1, Some(2)), 3.0 - log_sum),
            (value(Margin, 1.0, 1, None), -1.0),
            (value(Margin, 1.0, 0, None), 3.0),
            (value(Margin, 2.0, 0, None), 1.5),
            (value(Margin, 1.0, 1, Some(0)), -3.0),
            // (3 - 4) / (4 - 1), (4 - 0) / (4 - 1)
            (value(Dlr, 1.0, 1, None), -1.0 / 3.0),
            (value(Dlr, 1.0, 3, None), 4.0 / 3.0),
            // (3 - 4) / (4 - (1 + 0) / 2)
            (value(Dlr, 1.0, 1, Some(2)), -1.0 / 3.5),
        ];
        for (i, (got, want)) in cases.into_iter().enumerate() {
            assert_close(&format!("case {i}"), &[got], &[want], 1e-6);
        }
    }

    #[test]
    fn gradients_by_hand() {
        let logits = [1.0, 4.0, 3.0, 0.0];
        let grad = |kind, t, label, target| eval(objective(kind, t), &logits, label, target).1;
        assert_eq!(grad(Margin, 1.0, 1, None), [0.0, -1.0, 1.0, 0.0]);
        assert_eq!(grad(Margin, 2.0, 0, None), [-0.5, 0.5, 0.0, 0.0]);
        assert_eq!(grad(Margin, 1.0, 1, Some(2)), [0.0, -1.0, 1.0, 0.0]);
        // (z2 - z1) / (z1 - z0), whose value is -1/3 over a range of 3.
        let (third, ninth) = (1.0 / 3.0, 1.0 / 9.0);
        assert_close("dlr", &grad(Dlr, 1.0, 1, None), &[-ninth, -third + ninth, third, 0.0], 1e-6);
    }

    /// The losses of their authors' code, differentiated by PyTorch (`make_golden_attacks.py`).
    #[test]
    fn values_and_gradients_equal_the_golden_ones() {
        let golden = golden("attack_objectives.json");
        let tolerance = golden["tolerance"]["atol"].as_f64().unwrap();
        let mut n_compared = 0;
        for case in golden["cases"].as_array().unwrap() {
            for (at, kind) in
                case["at"].as_array().unwrap().iter().flat_map(|at| KINDS.map(|k| (at, k)))
            {
                let temperature = at["temperature"].as_f64().unwrap() as f32;
                let name = serde_json::to_value(kind).unwrap();
                let golden = &at[name.as_str().unwrap()];
                for (i, row) in case["logits"].as_array().unwrap().iter().enumerate() {
                    let logits = floats(row);
                    let [label, target] =
                        ["labels", "targets"].map(|f| case[f][i].as_u64().unwrap() as usize);
                    for (side, target) in [("untargeted", None), ("targeted", Some(target))] {
                        let objective = objective(kind, temperature);
                        let (value, grad) = eval(objective, &logits, label, target);
                        let what = format!("{kind:?} at {temperature}, {side}, row {i}");
                        let want = golden[side]["values"][i].as_f64().unwrap();
                        assert_close(&what, &[value], &[want], tolerance);
                        assert_close(&what, &grad, &numbers(&golden[side]["grad"][i]), tolerance);
                        n_compared += 1;
                    }
                }
            }
        }
        assert_eq!(n_compared, (6 + 8) * 2 * 3 * 2);
    }

    #[test]
    fn gradients_are_central_differences() {
        let logits = [1.0_f32, 4.0, 2.75, 0.5, -1.0];
        let sides = [(1, None), (0, None), (1, Some(2)), (0, Some(4)), (4, Some(1))];
        for kind in KINDS {
            for (temperature, (label, target)) in
                [1.0, 0.5, 20.0].into_iter().flat_map(|t| sides.map(|side| (t, side)))
            {
                let objective = objective(kind, temperature);
                let (_, grad) = eval(objective, &logits, label, target);
                for k in 0..logits.len() {
                    let at = |step: f32| {
                        let mut moved = logits;
                        moved[k] += step;
                        f64::from(eval(objective, &moved, label, target).0)
                    };
                    let want = (at(0.01) - at(-0.01)) / 0.02;
                    let what = format!("{kind:?} at {temperature}, {label} -> {target:?}, z{k}");
                    assert_close(&what, &[grad[k]], &[want], 1e-3);
                }
            }
        }
    }

    #[test]
    fn dlr_does_not_see_the_scale_of_the_logits() {
        let logits = [1.0_f32, 4.0, 2.75, 0.5, -1.0];
        for target in [None, Some(3)] {
            let value =
                |scale: f32| eval(objective(Dlr, 1.0), &logits.map(|z| z * scale), 1, target).0;
            for scale in [0.01, 100.0] {
                assert_close("dlr", &[value(scale)], &[f64::from(value(1.0))], 1e-5);
            }
        }
    }

    /// The masking of defensive distillation, and two ways around it.
    #[test]
    fn at_a_gap_of_200_only_the_cross_entropy_loses_its_gradient() {
        let logits = [200.0, 0.0, -10.0, -20.0];
        let grad = |kind, temperature| eval(objective(kind, temperature), &logits, 0, None).1;
        assert_eq!(grad(CrossEntropy, 1.0), [0.0; 4]);
        assert_eq!(grad(Margin, 1.0), [-1.0, 1.0, 0.0, 0.0]);
        assert!(grad(Dlr, 1.0)[1] > 0.0);
        assert!(grad(CrossEntropy, 100.0)[0] < -1e-3);
    }

    #[test]
    fn large_logits_stay_finite() {
        for (kind, scale) in KINDS.into_iter().flat_map(|kind| [(kind, 1e4), (kind, -1e4)]) {
            let logits = [1.0, 2.0, 3.0, 4.0].map(|z: f32| z * scale);
            for target in [None, Some(2)] {
                let (value, grad) = eval(objective(kind, 1.0), &logits, 1, target);
                assert!(value.is_finite() && grad.iter().all(|g| g.is_finite()), "{kind:?}");
            }
        }
    }

    #[test]
    fn ties_go_to_the_first_class() {
        let logits = [1.0, 2.0, 2.0, 2.0];
        assert_eq!((argmax(&logits), best_other(&logits, 1), best_other(&logits, 0)), (1, 2, 1));
        assert_eq!(order(&logits), [1, 2, 3, 0]);
        assert_eq!((argmax(&[3.0, 3.0]), best_other(&[3.0, 3.0], 0)), (0, 1));
    }

    #[test]
    fn bad_temperatures_and_too_few_classes_are_refused() {
        for temperature in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(objective(Margin, temperature).check().is_err(), "{temperature}");
        }
        objective(Margin, 0.5).check().unwrap();
        let dlr = objective(Dlr, 1.0);
        assert!(dlr.check_classes(2, false).is_err() && dlr.check_classes(3, true).is_err());
        dlr.check_classes(3, false).unwrap();
        dlr.check_classes(4, true).unwrap();
        assert!(objective(Margin, 1.0).check_classes(1, false).is_err());
    }
}
