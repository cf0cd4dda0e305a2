//! Adam.

use serde::{Deserialize, Serialize};

use super::{BLOCK, LEAST_MOMENT, Rule, flushed};
use crate::simd::vectorized;
use crate::tasks::each;
use crate::{Result, below_one, not_negative};

/// Gradients below this have no square that is a normal number.
const LEAST_GRAD: f32 = 1e-17;

/// Adam (Kingma & Ba 2015) as in PyTorch: bias-corrected moments, L2 weight decay added to the
/// gradient:
/// `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= rate * m / (sqrt(v) * correction + eps)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// L2 penalty: `weight_decay * parameter` is added to the gradient.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// A step with all that is the same for every value worked out beforehand.
struct Rates {
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

impl Adam {
    fn at(&self, learning_rate: f64, step: u64) -> Rates {
        let step = step as f64;
        Rates {
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            new1: (1.0 - self.beta1) as f32,
            new2: (1.0 - self.beta2) as f32,
            eps: self.eps as f32,
            weight_decay: self.weight_decay as f32,
            rate: (learning_rate / (1.0 - self.beta1.powf(step))) as f32,
            root_correction: (1.0 / (1.0 - self.beta2.powf(step)).sqrt()) as f32,
        }
    }
}

impl Rule for Adam {
    fn check(&self) -> Result<()> {
        below_one("optimizer.beta1", self.beta1)?;
        below_one("optimizer.beta2", self.beta2)?;
        not_negative("optimizer.eps", self.eps)?;
        not_negative("optimizer.weight_decay", self.weight_decay)
    }

    fn parts(&self) -> &'static [&'static str] {
        &["first", "second"]
    }

    fn step(
        &self,
        (learning_rate, step): (f64, u64),
        param: &mut [f32],
        grad: &[f32],
        state: &mut [&mut [f32]],
    ) {
        let [first, second] = state else { unreachable!("invariant: a part each") };
        let rates = &self.at(learning_rate, step);
        let blocks = param.chunks_mut(BLOCK).zip(grad.chunks(BLOCK));
        let states = first.chunks_mut(BLOCK).zip(second.chunks_mut(BLOCK));
        each(blocks.zip(states), |((param, grad), (first, second))| {
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

    #[cfg(feature = "cuda")]
    fn rates(&self, (learning_rate, step): (f64, u64)) -> Vec<f32> {
        let Rates { beta1, beta2, new1, new2, eps, weight_decay, rate, root_correction } =
            self.at(learning_rate, step);
        vec![beta1, beta2, new1, new2, eps, weight_decay, rate, root_correction]
    }
}
