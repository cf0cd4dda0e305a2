//! Optimizer steps on slices.
//!
//! Key decision: numbers that are too small to move a parameter become 0. The momentum of a unit
//! that has died shrinks by a tenth a step, down to subnormal numbers, where rounding holds it; a
//! processor takes a hundred times as long for these, and an MLP's step 1.5 times as long after
//! twenty epochs.

use rayon::prelude::*;

use crate::simd::vectorized;

use super::{Adam, Sgd};

/// Values that one task steps over.
const BLOCK: usize = 1 << 15;

/// Gradients below this have no square that is a normal number, and moments below the other move no
/// parameter: a step is at most `learning_rate * m / eps`.
const LEAST_GRAD: f32 = 1e-17;
const LEAST_MOMENT: f32 = 1e-30;

#[inline(always)]
fn flushed(x: f32, least: f32) -> f32 {
    if x.abs() < least { 0.0 } else { x }
}

/// Adam's step with all that is the same for every value worked out beforehand.
pub(super) struct AdamRates {
    beta1: f32,
    beta2: f32,
    /// `1 - beta1` and `1 - beta2`, subtracted in f64: in f32 the second is off by 1e-5.
    new1: f32,
    new2: f32,
    eps: f32,
    weight_decay: f32,
    /// `learning_rate / (1 - beta1^step)`
    rate: f32,
    /// `1 / sqrt(1 - beta2^step)`
    root_correction: f32,
}

impl AdamRates {
    pub(super) fn new(adam: &Adam, learning_rate: f64, step: u64) -> Self {
        let step = step as f64;
        Self {
            beta1: adam.beta1 as f32,
            beta2: adam.beta2 as f32,
            new1: (1.0 - adam.beta1) as f32,
            new2: (1.0 - adam.beta2) as f32,
            eps: adam.eps as f32,
            weight_decay: adam.weight_decay as f32,
            rate: (learning_rate / (1.0 - adam.beta1.powf(step))) as f32,
            root_correction: (1.0 / (1.0 - adam.beta2.powf(step)).sqrt()) as f32,
        }
    }

    /// As the kernels' struct of this name.
    pub(super) fn words(&self) -> [f32; 8] {
        let Self { beta1, beta2, new1, new2, eps, weight_decay, rate, root_correction } = *self;
        [beta1, beta2, new1, new2, eps, weight_decay, rate, root_correction]
    }
}

/// `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= rate * m / (sqrt(v) * correction + eps)`
pub(super) fn adam(
    rates: &AdamRates,
    param: &mut [f32],
    grad: &[f32],
    first: &mut [f32],
    second: &mut [f32],
) {
    let blocks = param.par_chunks_mut(BLOCK).zip(grad.par_chunks(BLOCK));
    let states = first.par_chunks_mut(BLOCK).zip(second.par_chunks_mut(BLOCK));
    blocks.zip(states).for_each(|((param, grad), (first, second))| {
        vectorized(
            #[inline(always)]
            || {
                let values = param.iter_mut().zip(grad).zip(first).zip(second);
                for (((p, g), m), v) in values {
                    let g = flushed(g + rates.weight_decay * *p, LEAST_GRAD);
                    *m = flushed(rates.beta1 * *m + rates.new1 * g, LEAST_MOMENT);
                    *v = flushed(rates.beta2 * *v + rates.new2 * g * g, LEAST_MOMENT);
                    *p -= rates.rate * *m / (v.sqrt() * rates.root_correction + rates.eps);
                }
            },
        );
    });
}

/// SGD's step with all that is the same for every value worked out beforehand.
pub(super) struct SgdRates {
    learning_rate: f32,
    weight_decay: f32,
    momentum: f32,
    nesterov: bool,
    /// PyTorch starts the velocity as the first gradient.
    old_velocity: f32,
}

impl SgdRates {
    pub(super) fn new(sgd: &Sgd, learning_rate: f64, step: u64) -> Self {
        let momentum = sgd.momentum as f32;
        Self {
            learning_rate: learning_rate as f32,
            weight_decay: sgd.weight_decay as f32,
            momentum,
            nesterov: sgd.nesterov,
            old_velocity: if step == 1 { 0.0 } else { momentum },
        }
    }

    /// How far a step goes along the gradient and along the velocity.
    fn along(&self) -> [f32; 2] {
        if self.nesterov { [1.0, self.momentum] } else { [0.0, 1.0] }
    }

    /// As the kernels' struct of this name.
    pub(super) fn words(&self) -> [f32; 5] {
        let [along_grad, along_velocity] = self.along();
        let Self { learning_rate, weight_decay, old_velocity, .. } = *self;
        [learning_rate, weight_decay, old_velocity, along_grad, along_velocity]
    }
}

/// `u = momentum * u + g; p -= learning_rate * u`, or with Nesterov `(g + momentum * u)`.
pub(super) fn sgd(rates: &SgdRates, param: &mut [f32], grad: &[f32], velocity: &mut [f32]) {
    let [along_g, along_u] = rates.along();
    let blocks = param.par_chunks_mut(BLOCK).zip(grad.par_chunks(BLOCK));
    blocks.zip(velocity.par_chunks_mut(BLOCK)).for_each(|((param, grad), velocity)| {
        vectorized(
            #[inline(always)]
            || {
                for ((p, g), u) in param.iter_mut().zip(grad).zip(velocity) {
                    let g = g + rates.weight_decay * *p;
                    *u = flushed(rates.old_velocity * *u + g, LEAST_MOMENT);
                    *p -= rates.learning_rate * (along_g * g + along_u * *u);
                }
            },
        );
    });
}
