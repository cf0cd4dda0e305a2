//! The fast adaptive boundary attack.

mod projection;
mod search;
mod settings;

use kd_core::{Error, Result, Stream, argmax, at_least_one, in_range};
use rayon::prelude::*;

pub use self::settings::Fab;

use self::search::{Plane, Search};
use super::standing::{Outcome, Round, Rounds};
use crate::attack::check_ball;
use crate::objective::best_other;
use crate::{Attack, Examples, Norm, Victim};

impl Fab {
    /// One run on the examples of `round`.
    fn walk(&self, victim: &Victim<'_>, round: &Round, stream: Stream) -> Result<Vec<Outcome>> {
        let examples = &round.examples;
        let new = |i: usize| Search::new(self, examples.image(i), self.start(round, i, stream));
        let mut searches: Vec<_> = (0..examples.len()).into_par_iter().map(new).collect();
        for _ in 0..self.n_steps {
            self.approach(victim, round, &mut searches)?;
            let logits = victim.logits(&points(&searches))?;
            let rows = searches.par_iter_mut().zip(logits.par_chunks_exact(victim.n_classes()));
            rows.enumerate().for_each(|(i, (search, logits))| {
                if examples.succeeds(i, argmax(logits)) {
                    search.step_back();
                }
            });
        }
        Ok(searches.into_iter().map(Search::outcome).collect())
    }

    /// The example itself, or in a restart a random point.
    fn start(&self, round: &Round, i: usize, stream: Stream) -> Vec<f32> {
        let image = round.examples.image(i);
        if round.restart == 0 {
            return image.to_vec();
        }
        let usual = if self.norm == Norm::L2 { 1.0 } else { 0.3 };
        let found = -round.values[i];
        let radius = 0.5 * self.eps.unwrap_or(usual).min(found);
        let stream = stream.number(u64::from(round.examples.indices[i])).number(round.number);
        self.norm.random_on_sphere(image, radius, &mut stream.rng())
    }

    /// Moves each search to the nearest plane.
    fn approach(
        &self,
        victim: &Victim<'_>,
        round: &Round,
        searches: &mut [Search<'_>],
    ) -> Result<()> {
        let (n_classes, n_pixels) = (victim.n_classes(), victim.n_pixels());
        let n_planes = if round.goals.contains(&None) { n_classes - 1 } else { 1 };
        let at = victim.pullbacks(&points(searches), n_planes, |i, s, logits, seeds| {
            let (up, down) = classes(round, i, s, logits);
            (seeds[up], seeds[down]) = (1.0, -1.0);
        })?;
        let logits = at.logits.par_chunks_exact(n_classes);
        let normals = at.pixels.par_chunks_exact(n_planes * n_pixels);
        let rows = searches.par_iter_mut().zip(logits).zip(normals).enumerate();
        rows.for_each(|(i, ((search, logits), normals))| {
            let planes = normals.chunks_exact(n_pixels).enumerate().map(|(s, normal)| {
                let (up, down) = classes(round, i, s, logits);
                Plane { value: logits[up] - logits[down], normal }
            });
            let distance = |plane: &Plane<'_>| self.distance(plane);
            let nearest = planes.min_by(|a, b| distance(a).total_cmp(&distance(b)));
            nearest.iter().for_each(|plane| search.advance(plane));
        });
        Ok(())
    }

    /// From the point to the plane, without the box.
    fn distance(&self, plane: &Plane<'_>) -> f64 {
        let dual = match self.norm {
            Norm::L2 => Norm::L2.length(plane.normal),
            _ => plane.normal.iter().map(|w| f64::from(w.abs())).sum(),
        };
        f64::from(plane.value.abs()) / (dual + 1e-12)
    }
}

/// The two classes whose border is plane number `s` of example `i`, first the one to reach: an
/// example's own target against the best other class, else a class against the label.
fn classes(round: &Round, i: usize, s: usize, logits: &[f32]) -> (usize, usize) {
    let label = round.examples.labels[i] as usize;
    match (round.examples.target(i), round.goals[i]) {
        (Some(target), _) => (target, best_other(logits, target)),
        (None, Some(goal)) => (goal, label),
        (None, None) => (s + usize::from(s >= label), label),
    }
}

fn points(searches: &[Search<'_>]) -> Vec<f32> {
    searches.iter().map(Search::point).collect::<Vec<_>>().concat()
}

impl Attack for Fab {
    fn check(&self) -> Result<()> {
        check_ball(self.norm, self.eps.unwrap_or(0.0))?;
        at_least_one("n_steps", self.n_steps)?;
        at_least_one("restarts", self.restarts)?;
        in_range("alpha_max", self.alpha_max, 0.0, 1.0)?;
        in_range("eta", self.eta, 1.0, 10.0)?;
        in_range("beta", self.beta, 0.0, 1.0)
    }

    fn norm(&self) -> Norm {
        self.norm
    }

    fn eps(&self) -> Option<f32> {
        self.eps
    }

    fn set_eps(&mut self, eps: f32) -> bool {
        self.eps = self.eps.map(|_| eps);
        self.eps.is_some()
    }

    fn n_passes(&self, _n_pixels: usize) -> usize {
        2 * self.n_steps * self.restarts * self.n_target_classes.max(1)
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, stream: Stream) -> Result<Vec<f32>> {
        if victim.n_classes() < 2 {
            return Err(Error::config("model", "has one class: there is no border to look for"));
        }
        let rounds = Rounds { n_target_classes: self.n_target_classes, restarts: self.restarts };
        rounds.run(victim, examples, |round| self.walk(victim, round, stream))
    }
}

#[cfg(test)]
mod tests {
    use super::projection::toward_plane;
    use super::*;
    use crate::testing::{Mlp, check_rows_alone, examples, successes, targeted, victim};

    fn run(fab: &Fab, victim: &Victim<'_>, examples: &Examples) -> Vec<f32> {
        fab.check().unwrap();
        fab.run(victim, examples, Stream::new(4)).unwrap()
    }

    fn distances(norm: Norm, examples: &Examples, images: &[f32]) -> Vec<f64> {
        let rows = images.chunks_exact(images.len() / examples.len()).enumerate();
        rows.map(|(i, image)| norm.distance(image, examples.image(i))).collect()
    }

    /// The distance to the nearest border of a linear network, the box minded.
    fn least_distance(model: &Mlp, victim: &Victim<'_>, norm: Norm, image: &[f32]) -> f64 {
        let (weights, logits) = (model.weight_rows(), victim.logits(image).unwrap());
        let y = argmax(&logits);
        let others = (0..logits.len()).filter(|s| *s != y);
        let lengths = others.map(|s| {
            let normal: Vec<f32> = weights[s].iter().zip(&weights[y]).map(|(a, b)| a - b).collect();
            let gap = f64::from(logits[y] - logits[s]);
            let change = toward_plane(norm, image, &normal, gap);
            let reached: f64 = change.iter().zip(&normal).map(|(a, b)| f64::from(a * b)).sum();
            if reached > gap - 1e-4 { norm.length(&change) } else { f64::INFINITY }
        });
        lengths.fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn on_a_linear_network_it_finds_the_least_distance() {
        let model = Mlp::random_linear(5, 1);
        let victim = victim(&model);
        for range in [(0.4, 0.6), (0.0, 1.0)] {
            let mut examples = examples(&victim, 15, range);
            // Pixels at the sides of the box.
            examples.pixels.iter_mut().step_by(5).for_each(|x| *x = x.round());
            examples.labels = crate::testing::predictions(&victim, &examples.pixels);
            for norm in [Norm::Linf, Norm::L2] {
                for n_target_classes in [0, 9] {
                    let fab = Fab { norm, n_target_classes, ..Fab::default() };
                    let images = run(&fab, &victim, &examples);
                    assert!(successes(&victim, &examples, &images).into_iter().all(|s| s));
                    for (i, got) in distances(norm, &examples, &images).into_iter().enumerate() {
                        let want = least_distance(&model, &victim, norm, examples.image(i));
                        assert!(got >= want - 1e-6 && got <= 1.02 * want, "{got}, not {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn restarts_and_classes_only_bring_images_nearer() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let examples = examples(&victim, 20, (0.2, 0.8));
        let fab = |restarts, n_target_classes| {
            let fab = Fab { n_steps: 15, restarts, n_target_classes, ..Fab::default() };
            distances(Norm::Linf, &examples, &run(&fab, &victim, &examples))
        };
        let (one, three) = (fab(1, 0), fab(3, 0));
        assert!(one.iter().zip(&three).all(|(one, three)| three <= one));
        assert!(one.iter().zip(&three).any(|(one, three)| three < one));
        let (two, four) = (fab(1, 2), fab(1, 4));
        assert!(two.iter().zip(&four).all(|(two, four)| *two == 0.0 || four <= two));
    }

    #[test]
    fn with_eps_farther_images_do_not_count() {
        let model = Mlp::small(5);
        let victim = victim(&model);
        let examples = examples(&victim, 30, (0.2, 0.8));
        let free = run(&Fab { n_steps: 20, ..Fab::default() }, &victim, &examples);
        let mut sorted = distances(Norm::Linf, &examples, &free);
        sorted.sort_by(f64::total_cmp);
        let eps = sorted[15] as f32;
        let bounded =
            run(&Fab { n_steps: 20, eps: Some(eps), ..Fab::default() }, &victim, &examples);
        let bounded = distances(Norm::Linf, &examples, &bounded);
        assert!(bounded.iter().all(|d| *d <= f64::from(eps)));
        let n = bounded.iter().filter(|d| **d > 0.0).count();
        assert!((15..=17).contains(&n), "{n}");
    }

    #[test]
    fn no_example_depends_on_its_batch_mates() {
        let model = Mlp::small(4);
        let victim = victim(&model);
        let examples = examples(&victim, 60, (0.2, 0.8));
        for eps in [None, Some(0.04)] {
            let fab = Fab { eps, n_steps: 8, restarts: 2, n_target_classes: 2, ..Fab::default() };
            check_rows_alone(&fab, &victim, &examples, &[59, 3, 17]);
        }
    }

    #[test]
    fn it_reaches_given_targets() {
        let model = Mlp::random_linear(5, 5);
        let victim = victim(&model);
        let examples = targeted(examples(&victim, 20, (0.3, 0.7)), 5);
        for norm in [Norm::Linf, Norm::L2] {
            let images = run(&Fab { norm, ..Fab::default() }, &victim, &examples);
            let n = successes(&victim, &examples, &images).into_iter().filter(|s| *s).count();
            assert!(n >= 18, "{norm:?}: {n} of 20");
        }
    }

    #[test]
    fn a_network_without_gradient_leaves_the_images() {
        let model = Mlp::linear(&[0.0; 48], &[1.0, 0.0]);
        let victim = victim(&model);
        let examples = examples(&victim, 2, (0.0, 1.0));
        assert_eq!(run(&Fab::default(), &victim, &examples), examples.pixels);
    }

    #[test]
    fn bad_settings_are_refused() {
        let refused = |fab: Fab, field: &str| {
            let error = fab.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}`")), "{error}");
        };
        let good = Fab::default();
        refused(Fab { eps: Some(-0.1), ..good.clone() }, "eps");
        refused(Fab { norm: Norm::L0, ..good.clone() }, "norm");
        refused(Fab { n_steps: 0, ..good.clone() }, "n_steps");
        refused(Fab { restarts: 0, ..good.clone() }, "restarts");
        refused(Fab { alpha_max: 1.1, ..good.clone() }, "alpha_max");
        refused(Fab { eta: 0.9, ..good.clone() }, "eta");
        refused(Fab { beta: f32::NAN, ..good }, "beta");
    }
}
