//! The basic iterative method.

use serde::{Deserialize, Serialize};

use super::iterate::{Ascending, Ascent, part_of};
use crate::{Norm, Objective};

/// FGSM in small steps from the image itself: `x_{t+1} = clip(x_t + step_size * sign(dJ/dx))`, cut
/// to the L-infinity ball and the box after each (Kurakin, Goodfellow and Bengio 2017,
/// arXiv:1607.02533).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bim {
    /// Radius of the L-infinity ball, in units of `[0, 1]` pixels.
    pub eps: f32,
    /// Length of a step, in the same units; where none is given, a sixteenth of the radius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_size: Option<f32>,
    /// Number of steps.
    pub n_steps: usize,
    /// The function J that is made larger.
    pub objective: Objective,
}

impl Default for Bim {
    /// Radius 16/255 in steps of 1/255, `min(16 + 4, 1.25 * 16)` of them, as in section 2.2.
    fn default() -> Self {
        let objective = Objective::default();
        Self { eps: 16.0 / 255.0, step_size: None, n_steps: 20, objective }
    }
}

impl Ascending for Bim {
    fn ascent(&self) -> Ascent {
        Ascent {
            norm: Norm::Linf,
            eps: self.eps,
            step_size: self.step_size.unwrap_or(part_of(self.eps, 16.0)),
            n_steps: self.n_steps,
            decay: None,
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
    use crate::attacks::Fgsm;
    use crate::testing::{Mlp, bits, examples, victim};

    #[test]
    fn one_step_of_the_radius_is_fgsm() {
        let model = Mlp::small(2);
        let victim = victim(&model);
        let examples = examples(&victim, 5, (0.0, 1.0));
        let bim = Bim { eps: 0.1, step_size: Some(0.1), n_steps: 1, ..Bim::default() };
        let fgsm = Fgsm { eps: 0.1, ..Fgsm::default() };
        let stream = Stream::new(0);
        let (a, b) = (bim.run(&victim, &examples, stream), fgsm.run(&victim, &examples, stream));
        assert_eq!(bits(&a.unwrap()), bits(&b.unwrap()));
    }
}
