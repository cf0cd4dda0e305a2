//! Softmaxes, cross entropies and their gradients, sixteen examples side by side.

use super::{Hard, Objective, Soft};
use crate::math::exp;
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
