//! The attack of Carlini and Wagner for L2.

mod search;
#[cfg(test)]
mod tests;
mod variable;

use kd_core::{Result, Stream, argmax, at_least_one, in_range, positive};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::search::Search;
use crate::{Attack, Examples, Norm, Objective, ObjectiveKind, Victim};

/// The L2 attack of Carlini and Wagner 2017 (arXiv:1608.04644): with `x' = (tanh(w) + 1) / 2`,
/// minimize `|x' - x|^2 + c * max(0, kappa - m(x'))` over `w` by Adam, for `n_searches` constants
/// `c`, each time from the image itself. `m` is the margin of the logits, f6 of the paper: the
/// target's logit less the largest other one, or without targets the largest logit of another class
/// less the label's. The image is the nearest one with `m > 0` and `m >= kappa` that any step of any
/// search came to.
///
/// `c` is multiplied by 10 until a search succeeds; then it is the middle between the largest that
/// failed and the smallest that succeeded.
///
/// This is what breaks defensive distillation: training at temperature T multiplies the logits by
/// about T, which saturates the softmax and its gradient, but a difference of logits has no softmax
/// and `c` takes up whatever factor it has.
///
/// # Differs from the authors' code
/// - 1000 steps at most, not 10000.
/// - Every example goes its own way. There the searches of a batch end together, when the sum of
///   their losses is not below 0.9999 of what it was a tenth of the steps before; here each for
///   itself, and only once it has succeeded: pixels of exactly 0 and 1 need some hundreds of steps
///   until they show, and the loss stands still meanwhile.
/// - With a `tolerance` above 0, the network is asked only where it is needed. Between, its expansion to
///   first order stands in for it, within a radius that is halved where the margin was predicted with
///   an error above `tolerance` and grows where below a quarter of it. What is predicted to be a nearer
///   success is asked about, and only what the network itself confirms is kept. At 0.005 the attack takes
///   a thirtieth of the time, and comes less near: against a `papernot-mnist`, distances were 4 % larger
///   in the mean of 60 images.
/// - The label of an example, not the network's prediction, is what has to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CarliniWagner {
    /// Margin of the logits that a success must have, 0 or more.
    pub kappa: f32,
    /// Learning rate of Adam.
    pub learning_rate: f32,
    /// Most steps of Adam in each search.
    pub n_steps: usize,
    /// Number of constants that are tried for each example.
    pub n_searches: usize,
    /// The first constant, above 0.
    pub initial_const: f32,
    /// Error of a predicted margin, as a fraction of what is missing at the image, above which the
    /// network is asked more often; at 0 it is asked in every step, as in the paper.
    pub tolerance: f32,
}

impl Default for CarliniWagner {
    /// The authors' code, but for the number of steps.
    fn default() -> Self {
        Self {
            kappa: 0.0,
            learning_rate: 0.01,
            n_steps: 1000,
            n_searches: 9,
            initial_const: 1e-3,
            tolerance: 0.0,
        }
    }
}

/// Examples that are worked on together; bounds the memory for their searches.
const N_TOGETHER: usize = 128;

const MARGIN: Objective = Objective { kind: ObjectiveKind::Margin, temperature: 1.0 };

impl Attack for CarliniWagner {
    fn check(&self) -> Result<()> {
        in_range("kappa", self.kappa, 0.0, 1e6)?;
        positive("learning_rate", self.learning_rate)?;
        at_least_one("n_steps", self.n_steps)?;
        at_least_one("n_searches", self.n_searches)?;
        positive("initial_const", self.initial_const)?;
        in_range("tolerance", self.tolerance, 0.0, 1.0)
    }

    fn norm(&self) -> Norm {
        Norm::L2
    }

    fn n_passes(&self, _n_pixels: usize) -> usize {
        self.n_searches * self.n_steps
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, _stream: Stream) -> Result<Vec<f32>> {
        MARGIN.check_classes(victim.n_classes(), examples.targets.is_some())?;
        let mut result = examples.pixels.clone();
        let mut waiting = self.not_yet(victim, examples)?.into_iter();
        let mut searches: Vec<(usize, Search<'_>)> = Vec::new();
        loop {
            let n_free = N_TOGETHER - searches.len();
            let begun = waiting.by_ref().take(n_free);
            searches.extend(begun.map(|i| (i, Search::new(self, examples.image(i)))));
            if searches.is_empty() {
                return Ok(result);
            }
            advance(victim, examples, &mut searches)?;
            for (i, search) in searches.extract_if(.., |(_, search)| search.is_finished()) {
                if let Some(image) = search.into_best() {
                    result[i * image.len()..][..image.len()].copy_from_slice(&image);
                }
            }
        }
    }
}

impl CarliniWagner {
    /// The examples that are not a success as they are.
    fn not_yet(&self, victim: &Victim<'_>, examples: &Examples) -> Result<Vec<usize>> {
        let logits = victim.logits(&examples.pixels)?;
        let rows = logits.chunks_exact(victim.n_classes()).enumerate();
        let fails = |(i, logits): &(usize, &[f32])| {
            let enough = margin(examples, *i, logits, &mut vec![0.0; logits.len()]) >= self.kappa;
            !(enough && examples.succeeds(*i, argmax(logits)))
        };
        Ok(rows.filter(fails).map(|(i, _)| i).collect())
    }
}

/// Asks the network at every search's image; each goes on from there until it has to ask again.
/// They keep no step with each other.
fn advance(
    victim: &Victim<'_>,
    examples: &Examples,
    searches: &mut [(usize, Search<'_>)],
) -> Result<()> {
    let images = searches.iter().flat_map(|(_, search)| search.image().iter().copied());
    let images: Vec<f32> = images.collect();
    let pullback = victim.pullback(&images, |row, logits, seeds| {
        margin(examples, searches[row].0, logits, seeds);
    })?;
    let logits = pullback.logits.par_chunks_exact(victim.n_classes());
    let gradients = pullback.pixels.par_chunks_exact(victim.n_pixels());
    let answered = searches.par_iter_mut().zip(logits).zip(gradients);
    answered.for_each(|(((i, search), logits), gradient)| {
        let margin = margin(examples, *i, logits, &mut vec![0.0; logits.len()]);
        search.advance(margin, gradient);
    });
    Ok(())
}

/// Above 0 on success; `seeds` receives its gradient.
fn margin(examples: &Examples, i: usize, logits: &[f32], seeds: &mut [f32]) -> f32 {
    MARGIN.value(logits, examples.labels[i] as usize, examples.target(i), seeds)
}
