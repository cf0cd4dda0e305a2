//! Attacks of several runs, each on the examples that still stand.

use kd_core::{Result, argmax};

use crate::objective::order;
use crate::{Examples, Victim};

/// What one run made of one example.
pub(super) struct Outcome {
    /// An image.
    pub(super) image: Vec<f32>,
    /// Of the images of unsuccessful runs, the one with the largest value stays; -infinity for an
    /// image that is worth nothing.
    pub(super) value: f32,
    /// Whether the example needs no further run.
    pub(super) success: bool,
}

/// Examples, and what the runs so far made of them.
pub(super) struct Standing<'e> {
    examples: &'e Examples,
    n_classes: usize,
    clean_logits: Vec<f32>,
    /// The examples that no run succeeded on.
    rows: Vec<usize>,
    /// One a row of the examples.
    values: Vec<f32>,
    images: Vec<f32>,
}

impl<'e> Standing<'e> {
    /// All examples but those that the attack succeeds on as they are.
    pub(super) fn new(victim: &Victim<'_>, examples: &'e Examples) -> Result<Self> {
        let clean_logits = victim.logits(&examples.pixels)?;
        let n_classes = victim.n_classes();
        let logits = clean_logits.chunks_exact(n_classes).enumerate();
        let stands = logits.filter(|(i, logits)| !examples.succeeds(*i, argmax(logits)));
        let rows = stands.map(|(i, _)| i).collect();
        let values = vec![f32::NEG_INFINITY; examples.len()];
        let images = examples.pixels.clone();
        Ok(Self { examples, n_classes, clean_logits, rows, values, images })
    }

    /// Whether none are left.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Those that are left.
    pub(super) fn examples(&self) -> Examples {
        self.examples.select(&self.rows)
    }

    /// Takes the outcomes of a run on [`Standing::examples`], in their order.
    pub(super) fn settle(&mut self, outcomes: &[Outcome]) {
        for (&row, outcome) in self.rows.iter().zip(outcomes) {
            if outcome.success || outcome.value > self.values[row] {
                let n_pixels = outcome.image.len();
                self.values[row] = outcome.value;
                self.images[row * n_pixels..(row + 1) * n_pixels].copy_from_slice(&outcome.image);
            }
        }
        let left = self.rows.iter().zip(outcomes).filter(|(_, outcome)| !outcome.success);
        self.rows = left.map(|(row, _)| *row).collect();
    }

    /// What the runs made of all examples, one image a row.
    pub(super) fn into_images(self) -> Vec<f32> {
        self.images
    }

    /// The class that run number `k` takes an example to: its own target where there is one, else
    /// the class with the k-th largest clean logit except for the label's.
    fn goal(&self, row: usize, n_target_classes: usize, k: usize) -> Option<usize> {
        let target = self.examples.target(row);
        if target.is_some() || n_target_classes == 0 {
            return target;
        }
        let label = self.examples.labels[row] as usize;
        let logits = &self.clean_logits[row * self.n_classes..(row + 1) * self.n_classes];
        order(logits).into_iter().filter(|class| *class != label).nth(k)
    }
}

/// One run of several.
pub(super) struct Round {
    /// Those that are left.
    pub(super) examples: Examples,
    /// The class that each is taken to; without, away from its label.
    pub(super) goals: Vec<Option<usize>>,
    /// The largest value that an earlier run reached on each.
    pub(super) values: Vec<f32>,
    /// Number of runs before this one with the same goals.
    pub(super) restart: usize,
    /// Number of runs before this one.
    pub(super) number: u64,
}

/// Runs toward one class after another, each with restarts.
pub(super) struct Rounds {
    /// How many of the classes with the largest clean logits; 0 for runs away from the label. The
    /// examples' own targets come before both.
    pub(super) n_target_classes: usize,
    /// Runs for each class, at least 1.
    pub(super) restarts: usize,
}

impl Rounds {
    /// The images after all runs.
    pub(super) fn run(
        &self,
        victim: &Victim<'_>,
        examples: &Examples,
        attack: impl Fn(&Round) -> Result<Vec<Outcome>>,
    ) -> Result<Vec<f32>> {
        let mut standing = Standing::new(victim, examples)?;
        let one_goal = self.n_target_classes == 0 || examples.targets.is_some();
        let n_others = victim.n_classes().saturating_sub(1);
        let n_goals = if one_goal { 1 } else { self.n_target_classes.min(n_others) };
        for k in 0..n_goals {
            for restart in 0..self.restarts {
                if standing.is_empty() {
                    break;
                }
                let outcomes = attack(&self.round(&standing, k, restart))?;
                standing.settle(&outcomes);
            }
        }
        Ok(standing.into_images())
    }

    fn round(&self, standing: &Standing<'_>, k: usize, restart: usize) -> Round {
        let rows = standing.rows.iter();
        let goals = rows.clone().map(|&row| standing.goal(row, self.n_target_classes, k));
        Round {
            examples: standing.examples(),
            goals: goals.collect(),
            values: rows.map(|&row| standing.values[row]).collect(),
            restart,
            number: (k * self.restarts + restart) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::testing::{Mlp, N_PIXELS, examples, victim};

    /// Logits 3, 5, 1 and 4 for every image.
    fn model() -> Mlp {
        Mlp::linear(&[0.0; 4 * N_PIXELS], &[3.0, 5.0, 1.0, 4.0])
    }

    fn outcome(pixel: f32, value: f32, success: bool) -> Outcome {
        Outcome { image: vec![pixel; N_PIXELS], value, success }
    }

    #[test]
    fn the_best_image_stays_and_a_success_leaves() {
        let model = model();
        let victim = victim(&model);
        let mut examples = examples(&victim, 4, (0.2, 0.8));
        examples.labels[1] = 0;
        let mut standing = Standing::new(&victim, &examples).unwrap();
        assert_eq!(standing.examples().indices, [1000, 1014, 1021], "one is wrong already");
        standing.settle(&[
            outcome(0.1, -1.0, false),
            outcome(0.2, -5.0, true),
            outcome(0.3, f32::NEG_INFINITY, false),
        ]);
        assert_eq!(standing.examples().indices, [1000, 1021]);
        standing.settle(&[outcome(0.4, -2.0, false), outcome(0.5, 3.0, false)]);
        standing.settle(&[outcome(0.6, -0.5, false), outcome(0.7, -9.0, true)]);
        standing.settle(&[outcome(0.8, 9.0, true)]);
        assert!(standing.is_empty());
        let images = standing.into_images();
        let first: Vec<f32> = images.iter().copied().step_by(N_PIXELS).collect();
        assert_eq!(first, [0.8, examples.image(1)[0], 0.2, 0.7]);
    }

    /// The goals of all runs.
    fn goals(n_target_classes: usize, restarts: usize, targets: Option<Vec<u32>>) -> Vec<String> {
        let model = model();
        let victim = victim(&model);
        let examples = Examples { targets, ..examples(&victim, 2, (0.2, 0.8)) };
        let runs = RefCell::new(Vec::new());
        let attack = |round: &Round| {
            runs.borrow_mut().push(format!("{} {} {:?}", round.number, round.restart, round.goals));
            Ok((0..2).map(|_| outcome(0.0, round.number as f32, false)).collect())
        };
        Rounds { n_target_classes, restarts }.run(&victim, &examples, attack).unwrap();
        runs.into_inner()
    }

    #[test]
    fn goals_go_by_decreasing_logit_without_the_label() {
        let away = ["0 0 [None, None]", "1 1 [None, None]"];
        assert_eq!(goals(0, 2, None), away);
        let classes = ["0 0 [Some(3), Some(3)]", "1 0 [Some(0), Some(0)]"];
        assert_eq!(goals(2, 1, None), classes);
        let all = goals(9, 2, None);
        assert_eq!((all.len(), all[5].as_str()), (6, "5 1 [Some(2), Some(2)]"));
        assert_eq!(goals(9, 1, Some(vec![2, 0])), ["0 0 [Some(2), Some(0)]"]);
    }

    #[test]
    fn a_round_knows_the_values_before_it() {
        let model = model();
        let victim = victim(&model);
        let examples = examples(&victim, 1, (0.2, 0.8));
        let rounds = Rounds { n_target_classes: 0, restarts: 3 };
        let seen = RefCell::new(Vec::new());
        let attack = |round: &Round| {
            seen.borrow_mut().push(round.values[0]);
            Ok(vec![outcome(0.0, -(round.restart as f32), false)])
        };
        rounds.run(&victim, &examples, attack).unwrap();
        assert_eq!(seen.into_inner(), [f32::NEG_INFINITY, 0.0, 0.0]);
    }
}
