//! Projected gradient descent.

use kd_core::{Error, Result, Stream, argmax, at_least_one};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::iterate::{Ascent, part_of};
use crate::attack::ball;
use crate::{Attack, Examples, Norm, Objective, Victim};

/// Steps along the gradient from a random point of the ball, projected back into it after each:
/// `x_{t+1} = project(x_t + step_size * sign(dJ/dx))`, for L2 along `g / |g|_2` (Madry et al. 2018,
/// arXiv:1706.06083). The last iterate counts, as in the authors' code.
///
/// For adversarial training they use 7 steps of a quarter of the radius: `n_steps = 7`,
/// `step_size = eps / 4` (PGD-7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pgd {
    /// Radius of the ball, in units of `[0, 1]` pixels.
    pub eps: f32,
    /// Length of a step, in the same units; where none is given, a thirtieth of the radius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_size: Option<f32>,
    /// Number of steps.
    pub n_steps: usize,
    /// Whether to begin at a random point of the ball rather than at the image.
    pub random_start: bool,
    /// How often to begin anew; each example keeps its first success, else the image where J is
    /// largest.
    pub restarts: usize,
    /// `linf` or `l2`.
    pub norm: Norm,
    /// The function J that is made larger.
    pub objective: Objective,
}

impl Default for Pgd {
    /// Madry et al.'s for MNIST: radius 0.3, 40 steps of 0.01, one random start. (The paper that
    /// this project follows says only "PGD with eps 0.1"; its suite sets that radius.)
    fn default() -> Self {
        let (norm, objective) = (Norm::Linf, Objective::default());
        let (random_start, restarts) = (true, 1);
        Self { eps: 0.3, step_size: None, n_steps: 40, random_start, restarts, norm, objective }
    }
}

impl Attack for Pgd {
    fn check(&self) -> Result<()> {
        at_least_one("restarts", self.restarts)?;
        if self.restarts > 1 && !self.random_start {
            let reason = "without a random start every restart gives the same images";
            return Err(Error::config("restarts", reason));
        }
        self.ascent().check()
    }

    ball!();

    fn step_size(&self) -> Option<f32> {
        Some(self.ascent().step_size)
    }

    fn n_passes(&self, _n_pixels: usize) -> usize {
        self.n_steps * self.restarts
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, stream: Stream) -> Result<Vec<f32>> {
        if self.restarts == 1 {
            return self.restart(victim, examples, stream, 0);
        }
        let mut best = examples.pixels.clone();
        let mut scores = vec![f32::NEG_INFINITY; examples.len()];
        let mut left: Vec<usize> = (0..examples.len()).collect();
        for restart in 0..self.restarts {
            if left.is_empty() {
                break;
            }
            let part = examples.select(&left);
            let images = self.restart(victim, &part, stream, restart as u64)?;
            let part_scores = self.scores(victim, &part, &images)?;
            let found = images.chunks_exact(victim.n_pixels()).zip(part_scores);
            for (&i, (image, score)) in left.iter().zip(found) {
                if score > scores[i] {
                    best[i * image.len()..][..image.len()].copy_from_slice(image);
                    scores[i] = score;
                }
            }
            left.retain(|&i| scores[i] < f32::INFINITY);
        }
        Ok(best)
    }
}

impl Pgd {
    fn ascent(&self) -> Ascent {
        Ascent {
            norm: self.norm,
            eps: self.eps,
            step_size: self.step_size.unwrap_or(part_of(self.eps, 30.0)),
            n_steps: self.n_steps,
            decay: None,
            objective: self.objective,
        }
    }

    /// All steps from one start.
    fn restart(
        &self,
        victim: &Victim<'_>,
        examples: &Examples,
        stream: Stream,
        restart: u64,
    ) -> Result<Vec<f32>> {
        let start = match self.random_start {
            true => random_starts(self.norm, self.eps, examples, stream, restart),
            false => examples.pixels.clone(),
        };
        self.ascent().run(victim, examples, start)
    }

    /// How good each image is: infinite when it succeeds, else the objective.
    fn scores(&self, victim: &Victim<'_>, examples: &Examples, images: &[f32]) -> Result<Vec<f32>> {
        let logits = victim.logits(images)?;
        let mut seeds = vec![0.0; victim.n_classes()];
        let rows = logits.chunks_exact(victim.n_classes()).enumerate();
        let score = |(i, row): (usize, &[f32])| {
            let (label, target) = (examples.labels[i] as usize, examples.target(i));
            let value = self.objective.value(row, label, target, &mut seeds);
            if examples.succeeds(i, argmax(row)) { f32::INFINITY } else { value }
        };
        Ok(rows.map(score).collect())
    }
}

/// A random point of each example's ball, drawn from `stream`, the example's index and the number of
/// the restart.
pub(super) fn random_starts(
    norm: Norm,
    eps: f32,
    examples: &Examples,
    stream: Stream,
    restart: u64,
) -> Vec<f32> {
    let start = |i: usize| {
        let mut rng = stream.number(u64::from(examples.indices[i])).number(restart).rng();
        norm.random_start(examples.image(i), eps, &mut rng)
    };
    let starts: Vec<Vec<f32>> = (0..examples.len()).into_par_iter().map(start).collect();
    starts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Mlp, bits, examples, successes, targeted, victim};

    fn run(pgd: &Pgd, victim: &Victim<'_>, examples: &Examples) -> Vec<f32> {
        pgd.check().unwrap();
        pgd.run(victim, examples, Stream::new(4)).unwrap()
    }

    #[test]
    fn more_restarts_keep_every_success_and_never_lower_the_objective() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let examples = examples(&victim, 40, (0.2, 0.8));
        // So few steps that the start decides.
        let pgd = |restarts| Pgd { eps: 0.1, n_steps: 2, restarts, ..Pgd::default() };
        let (few, many) = (run(&pgd(2), &victim, &examples), run(&pgd(12), &victim, &examples));
        let before = pgd(1).scores(&victim, &examples, &few).unwrap();
        let after = pgd(1).scores(&victim, &examples, &many).unwrap();
        assert!(before.iter().zip(&after).all(|(b, a)| a >= b));
        assert!(before.iter().zip(&after).any(|(b, a)| a > b));
        let n_pixels = victim.n_pixels();
        let rows = few.chunks_exact(n_pixels).zip(many.chunks_exact(n_pixels));
        for (i, (few, many)) in rows.enumerate().filter(|(i, _)| before[*i] == f32::INFINITY) {
            assert_eq!(bits(few), bits(many), "example {i} was done after two restarts");
        }
    }

    #[test]
    fn a_targeted_attack_reaches_its_target() {
        let model = Mlp::random_linear(5, 5);
        let victim = victim(&model);
        let examples = targeted(examples(&victim, 20, (0.3, 0.7)), 5);
        for (norm, eps) in [(Norm::Linf, 0.3), (Norm::L2, 1.2)] {
            let pgd = Pgd { norm, eps, step_size: Some(eps / 10.0), ..Pgd::default() };
            let images = run(&pgd, &victim, &examples);
            assert_eq!(successes(&victim, &examples, &images), [true; 20], "{norm:?}");
        }
    }

    #[test]
    fn bad_settings_are_refused() {
        let refused = |pgd: Pgd, field: &str| {
            let error = pgd.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}`")), "{error}");
        };
        let good = Pgd::default();
        for eps in [-0.1, 1.5, f32::NAN, f32::INFINITY] {
            refused(Pgd { eps, ..good.clone() }, "eps");
        }
        for step_size in [0.0, -0.1, f32::NAN, f32::INFINITY] {
            refused(Pgd { step_size: Some(step_size), ..good.clone() }, "step_size");
        }
        refused(Pgd { n_steps: 0, ..good.clone() }, "n_steps");
        refused(Pgd { restarts: 0, ..good.clone() }, "restarts");
        refused(Pgd { restarts: 2, random_start: false, ..good.clone() }, "restarts");
        refused(Pgd { norm: Norm::L0, ..good.clone() }, "norm");
        let objective = Objective { temperature: 0.0, ..Objective::default() };
        refused(Pgd { objective, ..good }, "objective.temperature");
    }

    #[test]
    fn dlr_needs_three_classes() {
        let model = Mlp::random_linear(2, 1);
        let victim = victim(&model);
        let objective = Objective { kind: crate::ObjectiveKind::Dlr, ..Objective::default() };
        let pgd = Pgd { objective, ..Pgd::default() };
        let result = pgd.run(&victim, &examples(&victim, 2, (0.0, 1.0)), Stream::new(0));
        assert!(result.unwrap_err().to_string().contains("at least 3 classes"));
    }
}
