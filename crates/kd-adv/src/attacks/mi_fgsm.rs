//! The momentum iterative fast gradient sign method.

use kd_core::{Result, Stream, in_range};
use serde::{Deserialize, Serialize};

use super::iterate::Ascent;
use crate::{Attack, Examples, Norm, Objective, Victim};

/// BIM with momentum, whose images transfer better to other networks:
/// `g_{t+1} = decay * g_t + dJ/dx / |dJ/dx|_1`, `x_{t+1} = clip(x_t + eps / n_steps * sign(g_{t+1}))`
/// (Dong et al. 2018, arXiv:1710.06081, algorithm 1); for L2 the step is along `g / |g|_2`.
///
/// # Differs from
/// The authors' code, which divides by the mean of `|dJ/dx|` instead of its sum: the same up to a
/// factor that the sign does not see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MiFgsm {
    /// Radius of the ball, in units of `[0, 1]` pixels.
    pub eps: f32,
    /// Number of steps, each of length `eps / n_steps`.
    pub n_steps: usize,
    /// What is left of the accumulated gradient after each step, in `[0, 1]`.
    pub decay: f32,
    /// `linf` or `l2`.
    pub norm: Norm,
    /// The function J that is made larger.
    pub objective: Objective,
}

impl Default for MiFgsm {
    /// Radius 16/255, 10 steps, decay 1, as in section 4.1.
    fn default() -> Self {
        let (norm, objective) = (Norm::Linf, Objective::default());
        Self { eps: 16.0 / 255.0, n_steps: 10, decay: 1.0, norm, objective }
    }
}

impl Attack for MiFgsm {
    fn check(&self) -> Result<()> {
        in_range("decay", self.decay, 0.0, 1.0)?;
        // A radius of 0 is allowed, though no step is: it leaves the images as they are.
        Ascent { step_size: 1.0, ..self.ascent() }.check()
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn eps(&self) -> Option<f32> {
        Some(self.eps)
    }

    fn set_eps(&mut self, eps: f32) -> bool {
        self.eps = eps;
        true
    }

    fn step_size(&self) -> Option<f32> {
        Some(self.ascent().step_size)
    }

    fn n_passes(&self, _n_pixels: usize) -> usize {
        self.n_steps
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, _: Stream) -> Result<Vec<f32>> {
        self.ascent().run(victim, examples, examples.pixels.clone())
    }
}

impl MiFgsm {
    fn ascent(&self) -> Ascent {
        Ascent {
            norm: self.norm,
            eps: self.eps,
            step_size: self.eps / self.n_steps as f32,
            n_steps: self.n_steps,
            decay: Some(self.decay),
            objective: self.objective,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::Bim;
    use crate::testing::{Mlp, bits, examples, victim};

    #[test]
    fn without_momentum_it_is_bim_and_with_it_is_not() {
        let model = Mlp::small(3);
        let victim = victim(&model);
        let examples = examples(&victim, 5, (0.0, 1.0));
        let run = |attack: &dyn Attack| attack.run(&victim, &examples, Stream::new(0)).unwrap();
        let bim = Bim { eps: 0.4, step_size: Some(0.04), n_steps: 10, ..Bim::default() };
        let mi = |decay| MiFgsm { eps: 0.4, decay, ..MiFgsm::default() };
        assert_eq!(bits(&run(&mi(0.0))), bits(&run(&bim)));
        assert_ne!(bits(&run(&mi(1.0))), bits(&run(&bim)));
    }
}
