//! Stochastic gradient descent.

use serde::{Deserialize, Serialize};

use super::{BLOCK, LEAST_MOMENT, Rule, flushed};
use crate::simd::vectorized;
use crate::tasks::each;
use crate::{Result, below_one, not_negative};

/// Stochastic gradient descent with momentum as in PyTorch (no dampening; the buffer starts as
/// the first gradient): `u = momentum * u + g; p -= learning_rate * u`, or with Nesterov
/// `p -= learning_rate * (g + momentum * u)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sgd {
    /// Decay of the velocity; 0 for none.
    pub momentum: f64,
    /// Whether to step along the velocity of the next step (Nesterov).
    pub nesterov: bool,
    /// L2 penalty: `weight_decay * parameter` is added to the gradient.
    pub weight_decay: f64,
}

/// A step with all that is the same for every value worked out beforehand.
struct Rates {
    learning_rate: f32,
    weight_decay: f32,
    /// PyTorch starts the velocity as the first gradient.
    old_velocity: f32,
    /// How far a step goes along the gradient and along the velocity.
    along_g: f32,
    along_u: f32,
}

impl Sgd {
    fn at(&self, learning_rate: f64, step: u64) -> Rates {
        let momentum = self.momentum as f32;
        let [along_g, along_u] = if self.nesterov { [1.0, momentum] } else { [0.0, 1.0] };
        Rates {
            learning_rate: learning_rate as f32,
            weight_decay: self.weight_decay as f32,
            old_velocity: if step == 1 { 0.0 } else { momentum },
            along_g,
            along_u,
        }
    }
}

impl Rule for Sgd {
    fn check(&self) -> Result<()> {
        below_one("optimizer.momentum", self.momentum)?;
        not_negative("optimizer.weight_decay", self.weight_decay)
    }

    fn parts(&self) -> &'static [&'static str] {
        &["velocity"]
    }

    fn step(
        &self,
        (learning_rate, step): (f64, u64),
        param: &mut [f32],
        grad: &[f32],
        state: &mut [&mut [f32]],
    ) {
        let [velocity] = state else { unreachable!("invariant: a part each") };
        let rates = &self.at(learning_rate, step);
        let blocks = param.chunks_mut(BLOCK).zip(grad.chunks(BLOCK));
        each(blocks.zip(velocity.chunks_mut(BLOCK)), |((param, grad), velocity)| {
            vectorized(
                #[inline(always)]
                || {
                    for ((p, g), u) in param.iter_mut().zip(grad).zip(velocity) {
                        let g = g + rates.weight_decay * *p;
                        *u = flushed(rates.old_velocity * *u + g, LEAST_MOMENT);
                        *p -= rates.learning_rate * (rates.along_g * g + rates.along_u * *u);
                    }
                },
            );
        });
    }

    #[cfg(feature = "cuda")]
    fn rates(&self, (learning_rate, step): (f64, u64)) -> Vec<f32> {
        let Rates { learning_rate, weight_decay, old_velocity, along_g, along_u } =
            self.at(learning_rate, step);
        vec![learning_rate, weight_decay, old_velocity, along_g, along_u]
    }
}
