//! Softmaxes, cross entropies and their gradients, sixteen examples side by side.

use super::{Hard, Objective, Soft};
use crate::simd::vectorized;

/// Examples that are computed side by side, one per SIMD lane.
const LANES: usize = 16;
type Vector = [f32; LANES];

/// Loss of each example, and the gradient of their mean.
pub(super) struct Rows {
    pub(super) losses: Vec<f32>,
    pub(super) gradient: Vec<f32>,
}

pub(super) fn rows(logits: &[f32], n_classes: usize, objective: &Objective) -> Rows {
    let n = logits.len() / n_classes;
    let mut rows = Rows { losses: vec![0.0; n], gradient: vec![0.0; logits.len()] };
    vectorized(
        #[inline(always)]
        || {
            let mut scratch = Scratch::new(n_classes);
            for first in (0..n).step_by(LANES) {
                block(logits, n_classes, objective, first, &mut scratch, &mut rows);
            }
        },
    );
    rows
}

/// One block of examples, class by class.
struct Scratch {
    logits: Vec<Vector>,
    teacher: Vec<Vector>,
    student: Vec<Vector>,
    soft_targets: Vec<Vector>,
    gradient: Vec<Vector>,
    losses: Vector,
}

impl Scratch {
    fn new(n_classes: usize) -> Self {
        let zeros = || vec![[0.0; LANES]; n_classes];
        Self {
            logits: zeros(),
            teacher: zeros(),
            student: zeros(),
            soft_targets: zeros(),
            gradient: zeros(),
            losses: [0.0; LANES],
        }
    }
}

#[inline(always)]
fn block(
    logits: &[f32],
    n_classes: usize,
    objective: &Objective,
    first: usize,
    scratch: &mut Scratch,
    rows: &mut Rows,
) {
    let n = rows.losses.len();
    let range = first..n.min(first + LANES);
    load(&mut scratch.logits, logits, n_classes, range.clone());
    scratch.gradient.fill([0.0; LANES]);
    scratch.losses = [0.0; LANES];
    if let Some(hard) = &objective.hard {
        add_hard(scratch, hard, range.start);
    }
    if let Some(soft) = &objective.soft {
        load(&mut scratch.teacher, &soft.teacher, n_classes, range.clone());
        add_soft(scratch, soft);
    }
    let scale = 1.0 / n as f32;
    for (lane, i) in range.enumerate() {
        rows.losses[i] = scratch.losses[lane];
        for (k, g) in scratch.gradient.iter().enumerate() {
            rows.gradient[i * n_classes + k] = g[lane] * scale;
        }
    }
}

/// `to[k][lane]` from row-major `from`; lanes past the range repeat its last row.
#[inline(always)]
fn load(to: &mut [Vector], from: &[f32], n_classes: usize, range: std::ops::Range<usize>) {
    for lane in 0..LANES {
        let i = (range.start + lane).min(range.end - 1);
        for (to, value) in to.iter_mut().zip(&from[i * n_classes..][..n_classes]) {
            to[lane] = *value;
        }
    }
}

/// Adds `weight * H(y, softmax(z / T))` and its gradient, `weight * (p - y) / T`.
#[inline(always)]
fn add_hard(scratch: &mut Scratch, hard: &Hard, first: usize) {
    let Scratch { logits, student, gradient, losses, .. } = scratch;
    let inverse = (1.0 / hard.temperature) as f32;
    let (max, log_sum) = softmax(logits, inverse, student);
    let (weight, slope) = (hard.weight as f32, (hard.weight / hard.temperature) as f32);
    let off = (hard.smoothing / logits.len() as f64) as f32;
    let on = (1.0 - hard.smoothing) as f32 + off;
    for (k, z) in logits.iter().enumerate() {
        for lane in 0..LANES {
            let i = (first + lane).min(hard.labels.len() - 1);
            let target = if hard.labels[i] as usize == k { on } else { off };
            let log_p = (z[lane] - max[lane]) * inverse - log_sum[lane];
            // A class of weight 0 adds nothing, however unlikely it is.
            if target > 0.0 {
                losses[lane] -= weight * target * log_p;
            }
            gradient[k][lane] += slope * (student[k][lane] - target);
        }
    }
}

/// Adds `weight * H(q, p)` and its gradient, `weight * (p - q) / T`, both softmaxes at T.
#[inline(always)]
fn add_soft(scratch: &mut Scratch, soft: &Soft) {
    let Scratch { logits, teacher, student, soft_targets, gradient, losses } = scratch;
    let inverse = (1.0 / soft.temperature) as f32;
    let (max, log_sum) = softmax(logits, inverse, student);
    softmax(teacher, inverse, soft_targets);
    let (weight, slope) = (soft.weight as f32, (soft.weight / soft.temperature) as f32);
    for (k, z) in logits.iter().enumerate() {
        for lane in 0..LANES {
            let log_p = (z[lane] - max[lane]) * inverse - log_sum[lane];
            losses[lane] -= weight * soft_targets[k][lane] * log_p;
            gradient[k][lane] += slope * (student[k][lane] - soft_targets[k][lane]);
        }
    }
}

/// `probs = softmax(inverse * z)` per lane; returns the maximum of z and the logarithm of the sum
/// of `exp(inverse * (z - maximum))`.
#[inline(always)]
fn softmax(z: &[Vector], inverse: f32, probs: &mut [Vector]) -> (Vector, Vector) {
    let mut max = [f32::NEG_INFINITY; LANES];
    for z in z {
        for lane in 0..LANES {
            max[lane] = if z[lane] > max[lane] { z[lane] } else { max[lane] };
        }
    }
    let mut sum = [0.0; LANES];
    for (probs, z) in probs.iter_mut().zip(z) {
        for lane in 0..LANES {
            probs[lane] = exp((z[lane] - max[lane]) * inverse);
            sum[lane] += probs[lane];
        }
    }
    for probs in probs {
        for lane in 0..LANES {
            probs[lane] /= sum[lane];
        }
    }
    (max, sum.map(f32::ln))
}

/// `e^x` for `x <= 0`, within 2 units in the last place; 0 below -87. Branch-free, so that it is
/// computed for a whole SIMD register at a time (Cephes' expf).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > -87.0 { x } else { -87.0 };
    let n = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    // NaN stays NaN: a diverged network must be seen.
    if x.is_nan() {
        x
    } else if x > -87.0 {
        (p * r * r + r + 1.0) * power
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for i in 0..870_000 {
            let x = -(i as f32) * 1e-4;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "exp({x}): relative error {error}");
        }
        assert_eq!((exp(0.0), exp(-87.5), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
    }
}
