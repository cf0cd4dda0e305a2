//! AutoAttack.

use kd_core::{Error, Result, Stream, argmax, at_least_one};
use serde::{Deserialize, Serialize};

use super::standing::{Outcome, Standing};
use super::{Apgd, Fab, Square};
use crate::attack::{ball, check_ball};
use crate::{Attack, Examples, Norm, Victim};

/// The standard ensemble without settings to tune: APGD on the cross entropy, targeted APGD on DLR,
/// targeted FAB, and Square, each on the examples that those before left standing.
///
/// An example's image is that of the first attack that succeeded, else the example itself.
/// Source: Croce and Hein 2020 (arXiv:2003.01690), version "standard": 100 iterations, one run, 9
/// target classes, 5000 queries with the schedule for 10000.
///
/// Examples with targets of their own are attacked toward these alone, by all four.
///
/// # Differs from
/// torchattacks' `AutoAttack`, whose parts run 10 steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoAttack {
    /// `linf` or `l2`.
    pub norm: Norm,
    /// Radius of the ball.
    pub eps: f32,
    /// Steps of each run of APGD and FAB.
    pub n_steps: usize,
    /// Queries of Square.
    pub n_queries: usize,
}

impl Default for AutoAttack {
    /// The source's values.
    fn default() -> Self {
        Self { norm: Norm::Linf, eps: 0.3, n_steps: 100, n_queries: 5000 }
    }
}

impl AutoAttack {
    /// The attacks in their order, with the names that their streams of random numbers have.
    fn parts(&self) -> [(&'static str, Box<dyn Attack>); 4] {
        let Self { norm, eps, n_steps, n_queries } = *self;
        let apgd = Apgd { norm, eps, n_steps, ..Apgd::default() };
        let apgd_t = Apgd { n_steps, ..Apgd::targeted(norm, eps) };
        let fab_t = Fab { n_steps, ..Fab::targeted(norm, eps) };
        let square = Square { norm, eps, n_queries, resc_schedule: false, ..Square::default() };
        [
            ("apgd-ce", Box::new(apgd)),
            ("apgd-t", Box::new(apgd_t)),
            ("fab-t", Box::new(fab_t)),
            ("square", Box::new(square)),
        ]
    }
}

/// What an attack made of examples, by what the network says of it.
fn outcomes(victim: &Victim<'_>, examples: &Examples, images: &[f32]) -> Result<Vec<Outcome>> {
    let logits = victim.logits(images)?;
    let rows = images.chunks_exact(victim.n_pixels());
    let rows = rows.zip(logits.chunks_exact(victim.n_classes())).enumerate();
    let outcome = |(i, (image, logits)): (usize, (&[f32], &[f32]))| Outcome {
        image: image.to_vec(),
        value: f32::NEG_INFINITY,
        success: examples.succeeds(i, argmax(logits)),
    };
    Ok(rows.map(outcome).collect())
}

impl Attack for AutoAttack {
    fn check(&self) -> Result<()> {
        check_ball(self.norm, self.eps)?;
        at_least_one("n_steps", self.n_steps)?;
        at_least_one("n_queries", self.n_queries)
    }

    ball!();

    fn n_passes(&self, _n_pixels: usize) -> usize {
        28 * self.n_steps + self.n_queries.div_ceil(3)
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, stream: Stream) -> Result<Vec<f32>> {
        if victim.n_classes() < 4 {
            let reason = format!(
                "AutoAttack's targeted DLR needs at least 4 classes, not {}: run apgd, fab and \
                 square one by one",
                victim.n_classes()
            );
            return Err(Error::config("model", reason));
        }
        let mut standing = Standing::new(victim, examples)?;
        for (name, part) in self.parts() {
            if standing.is_empty() {
                break;
            }
            let left = standing.examples();
            let images = part.run(victim, &left, stream.at(name))?;
            standing.settle(&outcomes(victim, &left, &images)?);
        }
        Ok(standing.into_images())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Mlp, bits, examples, successes, targeted, victim};

    fn small() -> AutoAttack {
        AutoAttack { eps: 0.035, n_steps: 10, n_queries: 60, ..AutoAttack::default() }
    }

    #[test]
    fn it_is_as_strong_as_each_part_and_the_first_success_counts() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let examples = examples(&victim, 40, (0.2, 0.8));
        for (norm, eps) in [(Norm::Linf, 0.035), (Norm::L2, 0.13)] {
            let auto = AutoAttack { norm, eps, ..small() };
            auto.check().unwrap();
            let got = auto.run(&victim, &examples, Stream::new(4)).unwrap();
            let mut want = examples.pixels.clone();
            let mut done = vec![false; 40];
            for (name, part) in auto.parts() {
                part.check().unwrap();
                let images = part.run(&victim, &examples, Stream::new(4).at(name)).unwrap();
                let n_pixels = victim.n_pixels();
                for (i, success) in successes(&victim, &examples, &images).into_iter().enumerate() {
                    if success && !done[i] {
                        done[i] = true;
                        let row = i * n_pixels..(i + 1) * n_pixels;
                        want[row.clone()].copy_from_slice(&images[row]);
                    }
                }
            }
            assert_eq!(bits(&got), bits(&want));
            assert_eq!(successes(&victim, &examples, &got), done);
            let n = done.iter().filter(|d| **d).count();
            assert!((5..40).contains(&n), "some stand and some do not: {n}");
        }
    }

    #[test]
    fn its_parts_are_those_of_the_paper() {
        let parts = AutoAttack::default().parts();
        assert_eq!(
            parts.each_ref().map(|(name, _)| *name),
            ["apgd-ce", "apgd-t", "fab-t", "square"]
        );
        assert!(parts.iter().all(|(_, part)| part.eps() == Some(0.3)));
    }

    #[test]
    fn given_targets_are_reached() {
        let model = Mlp::random_linear(5, 5);
        let victim = victim(&model);
        let examples = targeted(examples(&victim, 10, (0.3, 0.7)), 5);
        let auto = AutoAttack { eps: 0.3, ..small() };
        let images = auto.run(&victim, &examples, Stream::new(1)).unwrap();
        assert!(successes(&victim, &examples, &images).into_iter().all(|s| s));
    }

    #[test]
    fn too_few_classes_and_bad_settings_are_refused() {
        let model = Mlp::random_linear(3, 1);
        let victim = victim(&model);
        let examples = examples(&victim, 2, (0.4, 0.6));
        let error = small().run(&victim, &examples, Stream::new(1)).unwrap_err().to_string();
        assert!(error.contains("at least 4 classes, not 3"), "{error}");
        assert!(AutoAttack { norm: Norm::L0, ..small() }.check().is_err());
        assert!(AutoAttack { eps: f32::NAN, ..small() }.check().is_err());
        assert!(AutoAttack { n_steps: 0, ..small() }.check().is_err());
        assert!(AutoAttack { n_queries: 0, ..small() }.check().is_err());
    }
}
