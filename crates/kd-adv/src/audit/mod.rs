//! Does a network resist attacks, or does it only hide its gradients?
//!
//! The questions are those of Carlini et al. 2019 (*On evaluating adversarial robustness*,
//! arXiv:1902.06705, section 5) and Athalye, Carlini and Wagner 2018 (arXiv:1802.00420,
//! section 3.1), and AutoAttack's flags. Key decision: attacks are compared image by image. What
//! counts is how many images withstand the plain attack and fall to another one, so that an attack
//! that is as strong on other images does not hide a weakness, and only what still stands has to
//! be attacked again.

mod checks;
mod lab;
#[cfg(test)]
mod tests;
mod verdict;

use kd_core::record::AuditRecord;
use kd_core::{Error, Result, Stream, at_least_one};
use serde::{Deserialize, Serialize};

use self::lab::{Lab, Rows};
use crate::attack::check_ball;
use crate::evaluation::{census, correct_rows};
use crate::{Examples, Norm, Victim};

/// An audit for gradient masking, in the L-infinity ball.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Radius, in units of `[0, 1]` pixels.
    pub eps: f32,
    /// Steps of the attacks along gradients; a step is `4 eps / n_steps` long.
    pub n_steps: usize,
    /// Queries for each image of the attack without gradients.
    pub n_queries: usize,
}

impl Default for Audit {
    /// The radius of the paper that this project follows, and PGD as for MNIST by Madry et al.
    fn default() -> Self {
        Self { eps: 0.1, n_steps: 40, n_queries: 1000 }
    }
}

impl Audit {
    /// Refuses settings outside their domain.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    pub fn check(&self) -> Result<()> {
        check_ball(Norm::Linf, self.eps)?;
        if self.eps == 0.0 {
            return Err(Error::config("eps", "an audit needs a radius above 0"));
        }
        at_least_one("n_steps", self.n_steps)?;
        at_least_one("n_queries", self.n_queries)
    }

    /// How often at most it needs the gradient of an image, with `n_others` other networks; see
    /// [`crate::Attack::n_passes`].
    pub fn n_passes(&self, n_others: usize) -> usize {
        (14 + n_others) * self.n_steps + self.n_queries.div_ceil(3)
    }

    /// Runs all checks on the examples that `victim` classifies correctly. `others` are networks,
    /// by name, whose adversarial images are tried on it; without any, that check is left out.
    ///
    /// The verdict is `too-few-images` below 30 of them. It is `masked` when a check fails: what
    /// plain attacks report is then not to be believed. Else it is `sound` when at least half of the
    /// images withstand every attack, and `not-robust` when fewer do. Its words note logits that are
    /// too large for float32 to tell apart. Seed and names are left for the caller.
    ///
    /// # Errors
    /// [`Error::Config`] for settings outside their domain or when no example is classified
    /// correctly; as [`crate::attack`], but a network that outputs probabilities is a finding.
    pub fn run(
        &self,
        victim: &Victim<'_>,
        examples: &Examples,
        others: &[(&str, &Victim<'_>)],
        stream: Stream,
    ) -> Result<AuditRecord> {
        self.check()?;
        let rows = correct_rows(victim, examples)?;
        if rows.is_empty() {
            let reason = "the network classifies none of the images correctly";
            return Err(Error::config("images", reason));
        }
        let lab = Lab { audit: self, victim, examples: examples.select(&rows), stream };
        let mut checks = vec![checks::outputs_are_logits(&lab)?, checks::is_deterministic(&lab)?];
        if !checks[0].passed {
            return Ok(verdict::of_probabilities(checks));
        }
        let census = census(victim, &lab.examples)?;
        checks.extend([checks::gradients_are_finite(&census), checks::gradients_exist(&census)]);

        let all = lab.all();
        let plain = lab.fallen(&lab.plain(), &all)?;
        let standing: Rows = &all - &plain;
        checks.push(checks::iterative_beats_one_step(&lab, &plain)?);
        checks.extend(checks::radii(&lab, &plain)?);

        let longer = lab.fallen(&lab.longer(), &standing)?;
        checks.push(checks::more_steps_change_nothing(&lab, &longer));
        let mut gradients = &plain | &longer;
        let objectives = lab.other_objectives(census.mean_logit_gap, &standing)?;
        checks.push(checks::other_objectives_change_nothing(&lab, &objectives));
        objectives.iter().for_each(|(_, fallen)| gradients.extend(fallen));

        let mut worst = gradients.clone();
        if !others.is_empty() {
            let transferred = lab.transferred(others, &standing)?;
            checks.push(checks::white_box_beats_transfer(&lab, &transferred));
            transferred.iter().for_each(|(_, fallen)| worst.extend(fallen));
        }
        let (noise, square) = (lab.noise(&standing)?, lab.fallen(&lab.square(), &standing)?);
        checks.push(checks::white_box_beats_black_box(&lab, &noise, &square));
        checks.push(checks::square_finds_nothing_new(&lab, &(&square - &gradients)));
        worst.extend(noise.iter().chain(&square));
        Ok(verdict::of(&lab, &census, checks, plain.len(), worst.len()))
    }
}
