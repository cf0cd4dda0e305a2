//! Auto-PGD.

mod schedule;
mod search;

use kd_core::{Result, Stream, argmax, at_least_one, in_range};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::schedule::checkpoints;
use self::search::Search;
use super::standing::{Outcome, Round, Rounds};
use crate::attack::{ball, check_ball};
use crate::{Attack, Examples, Norm, Objective, ObjectiveKind, Victim};

/// Projected gradient ascent that chooses its own step size.
///
/// `z = P(x_k + step grad)`, `x_{k+1} = P(x_k + 0.75 (z - x_k) + 0.25 (x_k - x_{k-1}))`, where grad
/// is the sign (L-infinity) or the normalized gradient (L2) and P the projection to ball and box;
/// from a random point at distance `eps`, with steps of `2 eps` at first. At the checkpoints 22, 41,
/// 57, 70, 80, 87, 93 and 99 % of the steps, the step size is halved and the search goes back to its
/// best point when fewer than `rho` of the steps since the last one raised the objective, or when
/// the best objective and the step size are what they were.
/// Source: Croce and Hein 2020, algorithm 1 (arXiv:2003.01690).
///
/// Examples that a run succeeds on leave; in the other rows stands the image of the largest
/// objective. One forward and backward pass a step.
///
/// # Differs from
/// The authors' code, which returns the last adversarial image of a run (here the one with the
/// largest objective, which survives rounding better) and, where there is none, the example itself;
/// and which compares with the loss before a return to the best point, and lets `rho` exactly pass
/// for too few increases. torchattacks runs 10 steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Apgd {
    /// `linf` or `l2`.
    pub norm: Norm,
    /// Radius of the ball.
    pub eps: f32,
    /// Steps of a run.
    pub n_steps: usize,
    /// Runs from different starts.
    pub restarts: usize,
    /// The share of steps that must raise the objective.
    pub rho: f32,
    /// What it makes larger.
    pub objective: Objective,
    /// 0: away from the label; else the runs are repeated toward each of so many classes, those with
    /// the largest logits first. An example counts as adversarial with any class but its label.
    pub n_target_classes: usize,
}

impl Default for Apgd {
    /// APGD-CE of the authors' code, in AutoAttack's ball.
    fn default() -> Self {
        Self {
            norm: Norm::Linf,
            eps: 0.3,
            n_steps: 100,
            restarts: 1,
            rho: 0.75,
            objective: Objective::default(),
            n_target_classes: 0,
        }
    }
}

impl Apgd {
    /// APGD-T: the targeted difference of logits ratio, toward the 9 most likely wrong classes.
    pub fn targeted(norm: Norm, eps: f32) -> Self {
        let objective = Objective { kind: ObjectiveKind::Dlr, ..Objective::default() };
        Self { norm, eps, objective, n_target_classes: 9, ..Self::default() }
    }

    /// One run on the examples of `round`.
    fn ascend(&self, victim: &Victim<'_>, round: &Round, stream: Stream) -> Result<Vec<Outcome>> {
        let Round { examples, goals, .. } = round;
        let value = |i: usize, logits: &[f32], seeds: &mut [f32]| {
            self.objective.value(logits, examples.labels[i] as usize, goals[i], seeds)
        };
        let start = |i: usize| {
            let stream = stream.number(u64::from(examples.indices[i])).number(round.number);
            Search::new(self.norm, self.eps, examples.image(i), &mut stream.rng())
        };
        let mut searches: Vec<_> = (0..examples.len()).into_par_iter().map(start).collect();
        let checkpoints = checkpoints(self.n_steps);
        for step in 0..=self.n_steps {
            let points: Vec<_> = searches.iter().map(Search::point).collect();
            let seed = |i: usize, logits: &[f32], seeds: &mut [f32]| {
                value(i, logits, seeds);
            };
            let answer = victim.pullback(&points.concat(), seed)?;
            let logits = answer.logits.par_chunks_exact(victim.n_classes());
            let grads = answer.pixels.par_chunks_exact(victim.n_pixels());
            let rows = searches.par_iter_mut().zip(logits).zip(grads).enumerate();
            rows.for_each(|(i, ((search, logits), grad))| {
                let value = value(i, logits, &mut vec![0.0; logits.len()]);
                search.observe(value, grad, examples.succeeds(i, argmax(logits)));
                if checkpoints.contains(&step) {
                    search.check(self.rho);
                }
                search.advance();
            });
        }
        Ok(searches.into_iter().map(Search::outcome).collect())
    }
}

impl Attack for Apgd {
    fn check(&self) -> Result<()> {
        check_ball(self.norm, self.eps)?;
        at_least_one("n_steps", self.n_steps)?;
        at_least_one("restarts", self.restarts)?;
        in_range("rho", self.rho, 0.0, 1.0)?;
        self.objective.check()
    }

    ball!();

    fn n_passes(&self, _n_pixels: usize) -> usize {
        self.n_steps * self.restarts * self.n_target_classes.max(1)
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, stream: Stream) -> Result<Vec<f32>> {
        let targeted = self.n_target_classes > 0 || examples.targets.is_some();
        self.objective.check_classes(victim.n_classes(), targeted)?;
        let rounds = Rounds { n_target_classes: self.n_target_classes, restarts: self.restarts };
        rounds.run(victim, examples, |round| self.ascend(victim, round, stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Mlp, check_rows_alone, examples, successes, targeted, victim};

    fn run(apgd: &Apgd, victim: &Victim<'_>, examples: &Examples) -> Vec<f32> {
        apgd.check().unwrap();
        apgd.run(victim, examples, Stream::new(4)).unwrap()
    }

    /// Of each row, for the label.
    fn objectives(
        apgd: &Apgd,
        victim: &Victim<'_>,
        examples: &Examples,
        pixels: &[f32],
    ) -> Vec<f32> {
        let logits = victim.logits(pixels).unwrap();
        let rows = logits.chunks_exact(victim.n_classes()).zip(&examples.labels);
        let mut seeds = vec![0.0; victim.n_classes()];
        rows.map(|(row, y)| apgd.objective.value(row, *y as usize, None, &mut seeds)).collect()
    }

    #[test]
    fn on_a_linear_network_it_reaches_the_optimum_of_the_ball() {
        let model = Mlp::random_linear(2, 1);
        let victim = victim(&model);
        let rows = model.weight_rows();
        // L-infinity with the box in the way; an L2 ball within it.
        for (norm, eps, range) in [(Norm::Linf, 0.2, (0.0, 1.0)), (Norm::L2, 0.3, (0.35, 0.65))] {
            let examples = examples(&victim, 20, range);
            let apgd = Apgd { norm, eps, ..Apgd::default() };
            let images = run(&apgd, &victim, &examples);
            let optimum = (0..examples.len()).flat_map(|i| {
                let y = examples.labels[i] as usize;
                let up: Vec<f32> = rows[1 - y].iter().zip(&rows[y]).map(|(a, b)| a - b).collect();
                let mut image = examples.image(i).to_vec();
                norm.step(&mut image, &up, eps);
                norm.project(&mut image, examples.image(i), eps);
                image
            });
            let optimum: Vec<f32> = optimum.collect();
            let got = objectives(&apgd, &victim, &examples, &images);
            let want = objectives(&apgd, &victim, &examples, &optimum);
            let near = got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= 1e-3 * b.abs());
            assert!(near, "{norm:?}: {got:?}, not {want:?}");
        }
    }

    #[test]
    fn eps_0_changes_nothing() {
        let model = Mlp::small(3);
        let victim = victim(&model);
        let examples = examples(&victim, 5, (0.0, 1.0));
        for norm in [Norm::Linf, Norm::L2] {
            let images = run(&Apgd { norm, eps: 0.0, ..Apgd::default() }, &victim, &examples);
            assert_eq!(images, examples.pixels);
        }
    }

    #[test]
    fn no_example_depends_on_its_batch_mates() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let examples = examples(&victim, 60, (0.2, 0.8));
        let dlr = Apgd { restarts: 2, n_steps: 12, ..Apgd::targeted(Norm::L2, 0.25) };
        let ce = Apgd { eps: 0.05, restarts: 2, n_steps: 12, ..Apgd::default() };
        for apgd in [dlr, ce] {
            for rows in [&[59, 3, 17][..], &[8]] {
                let all = check_rows_alone(&apgd, &victim, &examples, rows);
                let n = successes(&victim, &examples, &all).into_iter().filter(|s| *s).count();
                assert!((5..55).contains(&n), "some stand and some do not: {n}");
            }
        }
    }

    #[test]
    fn a_restart_and_a_target_class_more_lose_nothing() {
        let model = Mlp::small(6);
        let victim = victim(&model);
        let examples = examples(&victim, 40, (0.2, 0.8));
        let few = Apgd { n_steps: 5, n_target_classes: 1, ..Apgd::targeted(Norm::Linf, 0.05) };
        let mut n_before = 0;
        let mut before = vec![false; 40];
        for (restarts, n_target_classes) in [(1, 1), (3, 1), (3, 4)] {
            let apgd = Apgd { restarts, n_target_classes, ..few.clone() };
            let images = run(&apgd, &victim, &examples);
            let now = successes(&victim, &examples, &images);
            let n = now.iter().filter(|s| **s).count();
            if n_target_classes == 1 {
                // The same runs and more; more classes come between the restarts.
                assert!(before.iter().zip(&now).all(|(b, n)| n >= b));
            }
            assert!(n >= n_before, "{n} after {n_before}");
            (before, n_before) = (now, n);
        }
        assert!(n_before > 5, "{n_before}");
    }

    #[test]
    fn it_reaches_given_targets_with_every_objective() {
        let model = Mlp::random_linear(5, 5);
        let victim = victim(&model);
        let examples = targeted(examples(&victim, 20, (0.3, 0.7)), 5);
        for kind in [ObjectiveKind::CrossEntropy, ObjectiveKind::Margin, ObjectiveKind::Dlr] {
            let objective = Objective { kind, ..Objective::default() };
            let images = run(&Apgd { objective, ..Apgd::default() }, &victim, &examples);
            let n = successes(&victim, &examples, &images).into_iter().filter(|s| *s).count();
            assert!(n >= 18, "{kind:?}: {n} of 20");
        }
    }

    #[test]
    fn what_the_network_gets_wrong_stays_as_it_is() {
        let model = Mlp::small(7);
        let victim = victim(&model);
        let mut examples = examples(&victim, 4, (0.3, 0.7));
        examples.labels[2] = (examples.labels[2] + 1) % 5;
        let images = run(&Apgd::default(), &victim, &examples);
        let rows = images.chunks_exact(victim.n_pixels()).enumerate();
        let moved: Vec<bool> = rows.map(|(i, image)| image != examples.image(i)).collect();
        assert_eq!(moved, [true, true, false, true]);
    }

    #[test]
    fn bad_settings_and_too_few_classes_are_refused() {
        let refused = |apgd: Apgd, field: &str| {
            let error = apgd.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}`")), "{error}");
        };
        let good = Apgd::default();
        refused(Apgd { eps: -0.1, ..good.clone() }, "eps");
        refused(Apgd { norm: Norm::L0, ..good.clone() }, "norm");
        refused(Apgd { n_steps: 0, ..good.clone() }, "n_steps");
        refused(Apgd { restarts: 0, ..good.clone() }, "restarts");
        refused(Apgd { rho: f32::NAN, ..good }, "rho");
        let model = Mlp::random_linear(3, 2);
        let victim = victim(&model);
        let examples = examples(&victim, 2, (0.4, 0.6));
        let error = Apgd::targeted(Norm::Linf, 0.1).run(&victim, &examples, Stream::new(1));
        assert!(error.unwrap_err().to_string().contains("at least 4 classes"));
    }
}
