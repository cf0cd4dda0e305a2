//! The momentum iterative fast gradient sign method.

use serde::{Deserialize, Serialize};

use super::iterate::{Ascending, Ascent, part_of};
use crate::{Norm, Objective};

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

impl Ascending for MiFgsm {
    fn ascent(&self) -> Ascent {
        Ascent {
            norm: self.norm,
            eps: self.eps,
            step_size: part_of(self.eps, self.n_steps as f32),
            n_steps: self.n_steps,
            decay: Some(self.decay),
            objective: self.objective,
        }
    }

    fn eps_mut(&mut self) -> &mut f32 {
        &mut self.eps
    }
}

#[cfg(test)]
mod tests {
    use kd_core::Stream;

    use super::*;
    use crate::Attack;
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
