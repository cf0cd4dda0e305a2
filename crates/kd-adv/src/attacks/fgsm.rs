//! The fast gradient sign method.

use kd_core::Stream;
use serde::{Deserialize, Serialize};

use super::iterate::{Ascending, Ascent, part_of};
use super::pgd::random_starts;
use crate::{Examples, Norm, Objective};

/// One step to the edge of the ball: `x' = clip(x + eps * sign(dJ/dx))`, for L2
/// `x + eps * g / |g|_2` (Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572).
///
/// With `random_start` the step has the length `1.25 eps` and begins at a random point of the ball,
/// to which the result is projected back: for training, where the plain step is soon answered by
/// gradients that point nowhere (Wong, Rice and Kolter 2020, arXiv:2001.03994).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fgsm {
    /// Radius of the ball, in units of `[0, 1]` pixels.
    pub eps: f32,
    /// `linf` or `l2`.
    pub norm: Norm,
    /// The function J that is made larger.
    pub objective: Objective,
    /// Whether to begin at a random point of the ball.
    pub random_start: bool,
}

impl Default for Fgsm {
    /// The radius with which Goodfellow et al. attack networks on MNIST.
    fn default() -> Self {
        let (norm, objective) = (Norm::Linf, Objective::default());
        Self { eps: 0.25, norm, objective, random_start: false }
    }
}

/// Step size over radius after a random start (Wong et al. 2020, section 5).
const RANDOM_START_STEP: f32 = 1.25;

impl Ascending for Fgsm {
    fn ascent(&self) -> Ascent {
        let factor = if self.random_start { RANDOM_START_STEP } else { 1.0 };
        Ascent {
            norm: self.norm,
            eps: self.eps,
            step_size: part_of(factor * self.eps, 1.0),
            n_steps: 1,
            decay: None,
            objective: self.objective,
        }
    }

    fn eps_mut(&mut self) -> &mut f32 {
        &mut self.eps
    }

    fn start(&self, examples: &Examples, stream: Stream) -> Vec<f32> {
        match self.random_start {
            true => random_starts(self.norm, self.eps, examples, stream, 0),
            false => examples.pixels.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attack;
    use crate::testing::{Mlp, N_PIXELS, examples, victim};

    /// Two classes whose logits differ by `w x`, so that the gradient's sign is that of `-w` for
    /// label 1 and of `w` for label 0; normalization changes its length, not its sign.
    #[test]
    fn the_step_is_the_sign_of_the_weights() {
        let w: Vec<f32> = (0..N_PIXELS).map(|i| [-1.0, 0.0, 2.0][i % 3]).collect();
        let weight = [vec![0.0; N_PIXELS], w.clone()].concat();
        let model = Mlp::linear(&weight, &[0.0, -1.0]).normalized(&[0.1, 0.2], &[0.5, 2.0]);
        let victim = victim(&model);
        let examples = examples(&victim, 4, (0.3, 0.7));
        let fgsm = Fgsm { eps: 0.125, ..Fgsm::default() };
        let images = fgsm.run(&victim, &examples, Stream::new(0)).unwrap();
        for (at, (got, x)) in images.iter().zip(&examples.pixels).enumerate() {
            let toward = if examples.labels[at / N_PIXELS] == 0 { 1.0 } else { -1.0 };
            let want = x + 0.125 * toward * [-1.0, 0.0, 1.0][at % N_PIXELS % 3];
            assert!((got - want).abs() < 1e-7, "value {at}: {got}, want {want}");
        }
    }

    #[test]
    fn a_random_start_depends_on_the_stream_and_stays_in_the_ball() {
        let model = Mlp::small(1);
        let victim = victim(&model);
        let examples = examples(&victim, 4, (0.0, 1.0));
        let fgsm = Fgsm { random_start: true, ..Fgsm::default() };
        let run = |seed| fgsm.run(&victim, &examples, Stream::new(seed)).unwrap();
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(Norm::Linf.distance(&run(1), &examples.pixels) <= 0.25 + 1e-6);
    }
}
