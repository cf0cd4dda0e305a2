//! Few pixels, changed all the way: the saliency map of pairs of pixels.

use kd_core::{Error, Result, Stream, argmax, in_range};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::objective::order;
use crate::{Attack, Examples, Norm, Victim};

/// The Jacobian-based saliency map attack (Papernot et al. 2016, arXiv:1511.07528, algorithms 2 and
/// 3), the one that defensive distillation was made against. Of all pairs of pixels that are not at
/// their limit yet, the one with the largest `-alpha * beta` is changed by `theta`, where
/// `alpha = d z_t > 0` and `beta = sum over j != t of d z_j < 0` are the changes of the target's
/// and of all other logits along the pair; until the target is reached, no pair is left, or
/// `gamma * P / 2` pairs have been changed.
///
/// Gradients are the logits', as in section IV of the paper. All pairs count, not a sample of them:
/// the best one is found among the few pixels that no two others beat in both changes.
///
/// Without targets, the network only has to err: the classes are gone for in the order of their
/// clean logits, beginning with the runner-up, until one way succeeds. (torchattacks takes
/// `(label + 1) mod 10`, others a random class.)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jsma {
    /// Change of a pixel, in `[-1, 1]`: above 0 pixels only increase, below 0 they only decrease.
    pub theta: f32,
    /// Fraction of the image's values that may be changed, in `(0, 1]`.
    pub gamma: f32,
}

impl Default for Jsma {
    /// The paper: whole steps, at most 112 of MNIST's 784 values.
    fn default() -> Self {
        Self { theta: 1.0, gamma: 0.145 }
    }
}

impl Attack for Jsma {
    fn check(&self) -> Result<()> {
        in_range("theta", self.theta, -1.0, 1.0)?;
        in_range("gamma", self.gamma, 0.0, 1.0)?;
        match (self.theta == 0.0, self.gamma == 0.0) {
            (true, _) => Err(Error::config("theta", "must not be 0")),
            (_, true) => Err(Error::config("gamma", "must be above 0")),
            _ => Ok(()),
        }
    }

    fn norm(&self) -> Norm {
        Norm::L0
    }

    fn n_passes(&self, n_pixels: usize) -> usize {
        (self.gamma * n_pixels as f32) as usize
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, _stream: Stream) -> Result<Vec<f32>> {
        let n_classes = victim.n_classes();
        let logits = victim.logits(&examples.pixels)?;
        let logits = |i: usize| &logits[i * n_classes..(i + 1) * n_classes];
        let n_ways = if examples.targets.is_some() { 1 } else { n_classes.saturating_sub(1) };
        let mut result = examples.pixels.clone();
        let mut left: Vec<usize> =
            (0..examples.len()).filter(|&i| !examples.succeeds(i, argmax(logits(i)))).collect();
        for way in 0..n_ways {
            let walk = |&i: &usize| {
                let target = goal(examples, i, logits(i), way);
                Walk { row: i, target, image: examples.image(i).to_vec() }
            };
            let found = self.search(victim, examples, left.iter().map(walk).collect())?;
            left.retain(|i| found.iter().all(|walk| walk.row != *i));
            for walk in found {
                let n = walk.image.len();
                result[walk.row * n..][..n].copy_from_slice(&walk.image);
            }
        }
        Ok(result)
    }
}

/// The target, or else the class of rank `way` among those that are not the label.
fn goal(examples: &Examples, i: usize, logits: &[f32], way: usize) -> usize {
    let label = examples.labels[i] as usize;
    let others = || order(logits).into_iter().filter(|class| *class != label);
    examples.target(i).or_else(|| others().nth(way)).unwrap_or(label)
}

/// An example on its way.
struct Walk {
    row: usize,
    target: usize,
    image: Vec<f32>,
}

impl Jsma {
    /// The walks that succeed.
    fn search(
        &self,
        victim: &Victim<'_>,
        examples: &Examples,
        mut walks: Vec<Walk>,
    ) -> Result<Vec<Walk>> {
        let mut found = Vec::new();
        let n_pairs = (victim.n_pixels() as f64 * f64::from(self.gamma) / 2.0) as usize;
        for _ in 0..n_pairs {
            if walks.is_empty() {
                break;
            }
            walks = self.step(victim, walks)?;
            let logits = victim.logits(&images(&walks))?;
            let mut logits = logits.chunks_exact(victim.n_classes());
            let succeeds = |walk: &mut Walk| {
                logits.next().is_some_and(|z| examples.succeeds(walk.row, argmax(z)))
            };
            found.extend(walks.extract_if(.., succeeds));
        }
        Ok(found)
    }

    /// Changes the best pair of each image; those without one are left out.
    fn step(&self, victim: &Victim<'_>, walks: Vec<Walk>) -> Result<Vec<Walk>> {
        let pullback = victim.pullbacks(&images(&walks), 2, |i, s, _, seeds| {
            let of_target = s == 0;
            seeds.fill(if of_target { 0.0 } else { 1.0 });
            seeds[walks[i].target] = if of_target { 1.0 } else { 0.0 };
        })?;
        let n = victim.n_pixels();
        let gradients = pullback.pixels.par_chunks_exact(2 * n);
        let change = |(mut walk, gradients): (Walk, &[f32])| {
            let (of_target, of_others) = gradients.split_at(n);
            let (p, q) = best_pair(&self.free(&walk.image, of_target, of_others))?;
            for pixel in [p, q] {
                walk.image[pixel] = (walk.image[pixel] + self.theta).clamp(0.0, 1.0);
            }
            Some(walk)
        };
        Ok(walks.into_par_iter().zip(gradients).filter_map(change).collect())
    }

    /// The pixels that are not at their limit.
    fn free(&self, image: &[f32], of_target: &[f32], of_others: &[f32]) -> Vec<Salience> {
        let sign = f64::from(self.theta.signum());
        let can_move = |value: f32| if self.theta > 0.0 { value < 1.0 } else { value > 0.0 };
        let pixels = image.iter().zip(of_target).zip(of_others).enumerate();
        pixels
            .filter(|(_, ((value, _), _))| can_move(**value))
            .map(|(pixel, ((_, alpha), beta))| Salience {
                pixel,
                gain: sign * f64::from(*alpha),
                loss: -sign * f64::from(*beta),
            })
            .collect()
    }
}

/// What a change of one pixel does, to first order.
#[derive(Debug, Clone, Copy)]
struct Salience {
    pixel: usize,
    /// The target's logit grows by it.
    gain: f64,
    /// The sum of the other logits falls by it.
    loss: f64,
}

/// The pair with the largest `(gain_p + gain_q) (loss_p + loss_q)`, both sums above 0.
///
/// With one pixel of a pair fixed the product grows with both numbers of the other. So neither
/// pixel of the best pair has two others that are at least as good in both numbers: one of these is
/// not in the pair, and to take it instead would be no worse. Sorted by gain, that leaves the pixels
/// whose loss is above the second largest so far: a handful, of which every pair is looked at.
fn best_pair(free: &[Salience]) -> Option<(usize, usize)> {
    let mut sorted = free.to_vec();
    sorted.sort_by(|a, b| b.gain.total_cmp(&a.gain).then(b.loss.total_cmp(&a.loss)));
    let (mut largest, mut second) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    sorted.retain(|salience| {
        let keep = salience.loss > second;
        second = second.max(salience.loss.min(largest));
        largest = largest.max(salience.loss);
        keep
    });
    let mut best = (0.0, None);
    for (i, p) in sorted.iter().enumerate() {
        for q in &sorted[..i] {
            let (gain, loss) = (p.gain + q.gain, p.loss + q.loss);
            if gain > 0.0 && loss > 0.0 && gain * loss > best.0 {
                best = (gain * loss, Some((p.pixel, q.pixel)));
            }
        }
    }
    best.1
}

fn images(walks: &[Walk]) -> Vec<f32> {
    walks.iter().flat_map(|walk| walk.image.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Mlp, N_PIXELS, bits, examples, predictions, successes, targeted, victim};

    fn run(jsma: &Jsma, victim: &Victim<'_>, examples: &Examples) -> Vec<f32> {
        jsma.check().unwrap();
        jsma.run(victim, examples, Stream::new(0)).unwrap()
    }

    fn half() -> Jsma {
        Jsma { gamma: 0.5, ..Jsma::default() }
    }

    /// Two classes: pixel 3 helps the target most, 5 hurts the label most, 1 and 2 do some of both.
    #[test]
    fn the_best_pair_of_a_small_network_by_hand() {
        let mut weight = [0.0; 2 * N_PIXELS];
        let (label, target) = (0, N_PIXELS);
        (weight[target + 3], weight[label + 5]) = (3.0, -3.0);
        (weight[target + 1], weight[label + 1]) = (2.0, -2.0);
        (weight[target + 2], weight[label + 2]) = (1.9, -1.9);
        let model = Mlp::linear(&weight, &[8.0, 0.0]);
        let victim = victim(&model);
        let example = Examples {
            pixels: vec![0.25; N_PIXELS],
            labels: vec![0],
            indices: vec![0],
            targets: Some(vec![1]),
        };
        // Scores: {1, 2}: 3.9 * 3.9, {3, 1}: 5 * 2, {3, 5}: 3 * 3, {1, 5}: 2 * 5.
        let image = run(&half(), &victim, &example);
        let changed: Vec<usize> = (0..N_PIXELS).filter(|&p| image[p] > 0.25).collect();
        assert_eq!(changed, [1, 2]);
        assert!(image[1].min(image[2]) >= 1.0);
        // A pixel at its limit is out: then {3, 1} and {1, 5} score 10, {3, 5} 9.
        let mut pixels = example.pixels.clone();
        pixels[2] = 1.0;
        let image = run(&half(), &victim, &Examples { pixels, ..example });
        assert!(image[1] > 0.25 && (image[3] > 0.25) != (image[5] > 0.25));
    }

    #[test]
    fn the_best_pair_is_that_of_all_pairs() {
        let mut rng = Stream::new(5).rng();
        for case in 0..300 {
            let n = 2 + case % 40;
            // Few values, so that ties are common.
            let mut value = || f64::from(rng.below(15)) - 7.0;
            let free: Vec<Salience> =
                (0..n).map(|pixel| Salience { pixel, gain: value(), loss: value() }).collect();
            let score = |(p, q): (usize, usize)| {
                let (gain, loss) = (free[p].gain + free[q].gain, free[p].loss + free[q].loss);
                if gain > 0.0 && loss > 0.0 { gain * loss } else { 0.0 }
            };
            let pairs = (0..n).flat_map(|p| (0..p).map(move |q| (p, q)));
            let want = pairs.map(score).fold(0.0, f64::max);
            let got = best_pair(&free).map_or(0.0, score);
            assert_eq!(got as i64, want as i64, "case {case}");
        }
    }

    #[test]
    fn no_pair_remains_where_nothing_helps() {
        let hurts = |pixel| Salience { pixel, gain: -1.0, loss: 1.0 };
        assert_eq!(best_pair(&[hurts(0), hurts(1)]), None);
        assert_eq!(best_pair(&[Salience { pixel: 0, gain: 1.0, loss: 1.0 }]), None);
        assert_eq!(best_pair(&[]), None);
    }

    #[test]
    fn at_most_gamma_values_change_and_only_upward_or_downward() {
        let model = Mlp::small(3);
        let victim = victim(&model);
        let examples = examples(&victim, 30, (0.0, 1.0));
        for theta in [1.0, -1.0, 0.3, -0.3] {
            let jsma = Jsma { theta, gamma: 0.34 };
            let images = run(&jsma, &victim, &examples);
            let mut n_changed = 0;
            for (i, image) in images.chunks_exact(N_PIXELS).enumerate() {
                let change = |(a, b): (&f32, &f32)| (a - b) * theta.signum();
                assert!(image.iter().zip(examples.image(i)).map(change).all(|d| d >= 0.0));
                assert!(Norm::L0.distance(image, examples.image(i)) <= 8.0);
                n_changed += usize::from(image != examples.image(i));
            }
            let n_fooled = successes(&victim, &examples, &images).iter().filter(|s| **s).count();
            assert_eq!(n_fooled, n_changed, "an image is changed only where that succeeds");
            assert!(theta.abs() < 1.0 || n_fooled >= 10, "theta {theta}: {n_fooled}");
        }
    }

    #[test]
    fn a_targeted_attack_reaches_its_target_and_each_image_alone_gives_the_same_bits() {
        let model = Mlp::small(6);
        let victim = victim(&model);
        let examples = targeted(examples(&victim, 30, (0.1, 0.9)), 5);
        let images = run(&Jsma { gamma: 1.0, ..Jsma::default() }, &victim, &examples);
        let reached = successes(&victim, &examples, &images);
        assert!(reached.iter().filter(|s| **s).count() >= 10, "{reached:?}");
        for i in [0, 11, 29] {
            let alone =
                run(&Jsma { gamma: 1.0, ..Jsma::default() }, &victim, &examples.select(&[i]));
            assert_eq!(bits(&alone), bits(&images[i * N_PIXELS..][..N_PIXELS]));
        }
    }

    /// Without targets all other classes are gone for: where one of them can be reached, an image
    /// is found.
    #[test]
    fn without_targets_every_class_is_tried() {
        let model = Mlp::small(8);
        let victim = victim(&model);
        let examples = examples(&victim, 20, (0.2, 0.8));
        let any = successes(&victim, &examples, &run(&half(), &victim, &examples));
        for target in 0..5 {
            let targets = vec![target; examples.len()];
            let aimed = Examples { targets: Some(targets), ..examples.clone() };
            let labels = predictions(&victim, &run(&half(), &victim, &aimed));
            for (i, label) in labels.iter().enumerate() {
                let reached = *label == target && target != examples.labels[i];
                assert!(any[i] || !reached, "example {i}, class {target}");
            }
        }
    }

    #[test]
    fn bad_settings_are_refused() {
        let good = Jsma::default();
        for theta in [0.0, 1.5, -2.0, f32::NAN] {
            assert!(Jsma { theta, ..good.clone() }.check().is_err());
        }
        for gamma in [0.0, -0.1, 1.5, f32::NAN] {
            assert!(Jsma { gamma, ..good.clone() }.check().is_err());
        }
        assert!(run(&good, &victim(&Mlp::small(1)), &Examples::default()).is_empty());
    }
}
