//! The nearest boundary of the linearized network, step after step.

use kd_core::{Error, Result, Stream, argmax, at_least_one, in_range};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::objective::order;
use crate::{Attack, Examples, Norm, Victim};

/// DeepFool for L2 (Moosavi-Dezfooli, Fawzi, Frossard 2016, arXiv:1511.04599, algorithm 2), on
/// logits: with `f_k = z_k - z_label` and `w_k` its gradient, step by
/// `r_i = |f_l| / |w_l|^2 * w_l` toward the class `l` with the smallest `|f_l| / |w_l|`, until the
/// network errs. The image is `x + (1 + overshoot) * sum r_i`, here moved into the box `[0, 1]`.
///
/// As in the authors' code only the `n_candidates` classes with the largest clean logits, the label
/// among them, are looked at, and 1e-4 is added to the length of each step. It takes no targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepFool {
    /// Most steps.
    pub n_steps: usize,
    /// Fraction by which the image goes beyond the boundary.
    pub overshoot: f32,
    /// Classes looked at, with the label; all where the network has no more.
    pub n_candidates: usize,
}

impl Default for DeepFool {
    /// The authors' code.
    fn default() -> Self {
        Self { n_steps: 50, overshoot: 0.02, n_candidates: 10 }
    }
}

/// Examples that are worked on together; bounds the memory for their gradients.
const N_TOGETHER: usize = 256;

/// Added to the length of each step, so that a step onto the boundary itself still moves.
const EXTRA: f64 = 1e-4;

impl Attack for DeepFool {
    fn check(&self) -> Result<()> {
        at_least_one("n_steps", self.n_steps)?;
        in_range("overshoot", self.overshoot, 0.0, 10.0)?;
        if self.n_candidates < 2 {
            return Err(Error::config("n_candidates", "must be at least 2: the label is one"));
        }
        Ok(())
    }

    fn norm(&self) -> Norm {
        Norm::L2
    }

    fn n_passes(&self, _n_pixels: usize) -> usize {
        self.n_steps * self.n_candidates
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, _stream: Stream) -> Result<Vec<f32>> {
        if examples.targets.is_some() {
            let reason = "DeepFool goes to the nearest class and takes no targets";
            return Err(Error::config("targets", reason));
        }
        let mut result = examples.pixels.clone();
        let rows: Vec<usize> = (0..examples.len()).collect();
        for rows in rows.chunks(N_TOGETHER) {
            let images = result.chunks_exact_mut(victim.n_pixels()).skip(rows[0]);
            let found = self.search(victim, &examples.select(rows))?;
            images
                .zip(found)
                .filter_map(|(image, found)| Some((image, found?)))
                .for_each(|(image, found)| image.copy_from_slice(&found));
        }
        Ok(result)
    }
}

/// An example on its way.
struct Walk {
    row: usize,
    /// The classes that it may go to.
    others: Vec<usize>,
    /// `sum r_i`
    way: Vec<f32>,
    image: Vec<f32>,
}

impl DeepFool {
    /// For each example the first image on its way on which the network errs.
    fn search(&self, victim: &Victim<'_>, examples: &Examples) -> Result<Vec<Option<Vec<f32>>>> {
        let mut found = vec![None; examples.len()];
        let logits = victim.logits(&examples.pixels)?;
        let rows = logits.chunks_exact(victim.n_classes()).enumerate();
        let mut walks: Vec<Walk> = rows
            .filter(|(i, logits)| !examples.succeeds(*i, argmax(logits)))
            .map(|(i, logits)| self.walk(i, logits, examples))
            .collect();
        for _ in 0..self.n_steps {
            self.step(victim, examples, &mut walks)?;
            let logits = victim.logits(&images(&walks))?;
            let mut logits = logits.chunks_exact(victim.n_classes());
            walks.retain_mut(|walk| {
                let fooled = logits.next().is_some_and(|z| examples.succeeds(walk.row, argmax(z)));
                if fooled {
                    found[walk.row] = Some(std::mem::take(&mut walk.image));
                }
                !fooled
            });
        }
        Ok(found)
    }

    fn walk(&self, row: usize, logits: &[f32], examples: &Examples) -> Walk {
        let mut others = order(logits);
        others.retain(|&class| class != examples.labels[row] as usize);
        others.truncate(self.n_candidates - 1);
        let image = examples.image(row).to_vec();
        Walk { row, others, way: vec![0.0; image.len()], image }
    }

    /// Moves each image beyond the boundary that is nearest by the linearized logits.
    fn step(&self, victim: &Victim<'_>, examples: &Examples, walks: &mut [Walk]) -> Result<()> {
        let n_others = walks.first().map_or(0, |walk| walk.others.len());
        if n_others == 0 {
            return Ok(());
        }
        let label = |walk: &Walk| examples.labels[walk.row] as usize;
        let pullback = victim.pullbacks(&images(walks), n_others, |i, s, _, seeds| {
            seeds[walks[i].others[s]] = 1.0;
            seeds[label(&walks[i])] = -1.0;
        })?;
        let logits = pullback.logits.par_chunks_exact(victim.n_classes());
        let gradients = pullback.pixels.par_chunks_exact(n_others * victim.n_pixels());
        walks.par_iter_mut().zip(logits).zip(gradients).for_each(|((walk, logits), gradients)| {
            let gradients = gradients.chunks_exact(victim.n_pixels());
            let gap = |&class: &usize| f64::from(logits[class] - logits[label(walk)]).abs();
            let boundaries = walk.others.iter().map(gap).zip(gradients);
            let Some((gap, w, norm)) = nearest(boundaries) else { return };
            let scale = (gap / norm + EXTRA) / norm;
            walk.way.iter_mut().zip(w).for_each(|(r, w)| *r += (scale * f64::from(*w)) as f32);
            let moved = examples.image(walk.row).iter().zip(&walk.way);
            for (pixel, (x, r)) in walk.image.iter_mut().zip(moved) {
                *pixel = (x + (1.0 + self.overshoot) * r).clamp(0.0, 1.0);
            }
        });
        Ok(())
    }
}

/// Of pairs `(|f|, w)` the one with the smallest `|f| / |w|`, with `|w|`; none when every gradient
/// is zero.
fn nearest<'w>(
    boundaries: impl Iterator<Item = (f64, &'w [f32])>,
) -> Option<(f64, &'w [f32], f64)> {
    let with_norm = |(gap, w): (f64, &'w [f32])| {
        let norm = Norm::L2.length(w);
        (norm > 0.0).then_some((gap, w, norm))
    };
    boundaries.filter_map(with_norm).min_by(|a, b| (a.0 / a.2).total_cmp(&(b.0 / b.2)))
}

fn images(walks: &[Walk]) -> Vec<f32> {
    walks.iter().flat_map(|walk| walk.image.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Mlp, bits, examples, successes, targeted, victim};

    fn run(victim: &Victim<'_>, examples: &Examples) -> Vec<f32> {
        DeepFool::default().run(victim, examples, Stream::new(0)).unwrap()
    }

    /// Each class has a hyperplane; the nearest is reached in one step.
    #[test]
    fn one_step_reaches_the_nearest_boundary_of_a_linear_network() {
        let model = Mlp::random_linear(5, 3);
        let victim = victim(&model);
        let examples = examples(&victim, 20, (0.45, 0.55));
        let one = DeepFool { n_steps: 1, ..DeepFool::default() };
        let images = one.run(&victim, &examples, Stream::new(0)).unwrap();
        assert!(successes(&victim, &examples, &images).into_iter().all(|s| s));
        let (rows, logits) = (model.weight_rows(), victim.logits(&examples.pixels).unwrap());
        for (i, z) in logits.chunks_exact(5).enumerate() {
            let label = examples.labels[i] as usize;
            let distance =
                |k: usize| f64::from(z[label] - z[k]) / Norm::L2.distance(&rows[k], &rows[label]);
            let want = (0..5).filter(|k| *k != label).map(distance).fold(f64::INFINITY, f64::min);
            let image = &images[i * victim.n_pixels()..][..victim.n_pixels()];
            let got = Norm::L2.distance(image, examples.image(i));
            let expected = 1.02 * (want + EXTRA);
            assert!((got - expected).abs() < 1e-4, "example {i}: {got}, boundary at {want}");
        }
    }

    #[test]
    fn it_fools_a_network_within_the_box_and_each_image_alone_gives_the_same_bits() {
        let model = Mlp::small(7);
        let victim = victim(&model);
        let examples = examples(&victim, 30, (0.0, 1.0));
        let images = run(&victim, &examples);
        assert!(images.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        let successes = successes(&victim, &examples, &images);
        assert!(successes.iter().filter(|s| **s).count() >= 28, "{successes:?}");
        for i in [0, 7, 29] {
            let alone = run(&victim, &examples.select(&[i]));
            assert_eq!(bits(&alone), bits(&images[i * 24..][..24]));
        }
    }

    #[test]
    fn fewer_candidates_go_to_one_of_them() {
        let model = Mlp::random_linear(5, 4);
        let victim = victim(&model);
        let examples = examples(&victim, 10, (0.45, 0.55));
        let two = DeepFool { n_candidates: 2, ..DeepFool::default() };
        let images = two.run(&victim, &examples, Stream::new(0)).unwrap();
        let before = victim.logits(&examples.pixels).unwrap();
        let after = crate::testing::predictions(&victim, &images);
        for (class, z) in after.iter().zip(before.chunks_exact(5)) {
            assert!(order(z)[..2].contains(&(*class as usize)));
        }
    }

    /// Without a gradient there is nowhere to go; without success the image is its own.
    #[test]
    fn images_that_are_fooled_or_cannot_be_stay_as_they_are() {
        let model = Mlp::linear(&[0.0; 48], &[1.0, 0.0]);
        let victim = victim(&model);
        let mut examples = examples(&victim, 2, (0.0, 1.0));
        examples.labels[1] = 1;
        assert_eq!(run(&victim, &examples), examples.pixels);
        assert!(run(&victim, &Examples::default()).is_empty());
    }

    #[test]
    fn targets_and_bad_settings_are_refused() {
        let model = Mlp::small(1);
        let victim = victim(&model);
        let examples = targeted(examples(&victim, 2, (0.0, 1.0)), 5);
        let result = DeepFool::default().run(&victim, &examples, Stream::new(0));
        assert!(result.unwrap_err().to_string().contains("takes no targets"));
        let good = DeepFool::default();
        good.check().unwrap();
        assert!(DeepFool { n_steps: 0, ..good.clone() }.check().is_err());
        assert!(DeepFool { n_candidates: 1, ..good.clone() }.check().is_err());
        assert!(DeepFool { overshoot: f32::NAN, ..good }.check().is_err());
    }
}
