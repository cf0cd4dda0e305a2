//! APGD's state for one example.

use kd_core::rng::Rng;

use super::super::standing::Outcome;
use crate::Norm;

/// Weight of the new step; the rest is momentum.
const NEW_STEP: f32 = 0.75;

/// A point that the network has seen.
#[derive(Debug, Clone)]
struct Place {
    point: Vec<f32>,
    grad: Vec<f32>,
    /// The objective.
    value: f32,
}

/// One example's ascent.
pub(super) struct Search<'a> {
    norm: Norm,
    eps: f32,
    image: &'a [f32],
    here: Place,
    /// The point before; none at the start.
    previous: Option<Vec<f32>>,
    best: Place,
    /// Of the points that fool the network, the one with the largest objective.
    adversarial: Option<(f32, Vec<f32>)>,
    step_size: f32,
    since_check: SinceCheck,
}

/// What decides on the step size, counted from the last checkpoint on.
struct SinceCheck {
    n_steps: usize,
    n_increases: usize,
    /// The best objective then.
    best: f32,
    /// Whether the step size was halved then.
    halved: bool,
}

impl<'a> Search<'a> {
    /// A start at distance `eps` from `image`, as far as the box allows.
    pub(super) fn new(norm: Norm, eps: f32, image: &'a [f32], rng: &mut Rng) -> Self {
        let point = norm.random_on_sphere(image, eps, rng);
        // No first value counts as an increase, and every first value is the best.
        let here = Place { grad: vec![0.0; point.len()], point, value: f32::INFINITY };
        let best = Place { value: f32::NEG_INFINITY, ..here.clone() };
        let since_check =
            SinceCheck { n_steps: 0, n_increases: 0, best: best.value, halved: false };
        let step_size = 2.0 * eps;
        Self {
            norm,
            eps,
            image,
            here,
            previous: None,
            best,
            adversarial: None,
            step_size,
            since_check,
        }
    }

    /// Where the network is to be asked next.
    pub(super) fn point(&self) -> &[f32] {
        &self.here.point
    }

    /// Takes the network's answer at [`Search::point`].
    pub(super) fn observe(&mut self, value: f32, grad: &[f32], success: bool) {
        self.since_check.n_increases += usize::from(value > self.here.value);
        self.here.value = value;
        self.here.grad.copy_from_slice(grad);
        if value > self.best.value {
            self.best = self.here.clone();
        }
        if success && self.adversarial.as_ref().is_none_or(|(best, _)| value > *best) {
            self.adversarial = Some((value, self.here.point.clone()));
        }
    }

    /// At a checkpoint: halves the step size and goes back to the best point when fewer than `rho`
    /// of the steps raised the objective (condition 1), or when neither the best objective nor the
    /// step size changed since the checkpoint before (condition 2).
    pub(super) fn check(&mut self, rho: f32) {
        let last = &self.since_check;
        let few_increases = (last.n_increases as f32) < rho * last.n_steps as f32;
        let no_better = !last.halved && self.best.value <= last.best;
        let halved = few_increases || no_better;
        if halved {
            self.step_size /= 2.0;
            self.here = self.best.clone();
        }
        self.since_check = SinceCheck { n_steps: 0, n_increases: 0, best: self.best.value, halved };
    }

    /// `z = P(x + step_size * direction(grad))`, then
    /// `P(x + 0.75 (z - x) + 0.25 (x - previous))`; the first step is to `z`.
    pub(super) fn advance(&mut self) {
        let here = &self.here;
        let mut next = here.point.clone();
        self.norm.step(&mut next, &here.grad, self.step_size);
        self.norm.project(&mut next, self.image, self.eps);
        if let Some(previous) = &self.previous {
            for ((z, x), before) in next.iter_mut().zip(&here.point).zip(previous) {
                *z = x + NEW_STEP * (*z - x) + (1.0 - NEW_STEP) * (x - before);
            }
            self.norm.project(&mut next, self.image, self.eps);
        }
        self.previous = Some(std::mem::replace(&mut self.here.point, next));
        self.since_check.n_steps += 1;
    }

    /// An adversarial image if there was one, else the best point.
    pub(super) fn outcome(self) -> Outcome {
        match self.adversarial {
            Some((value, image)) => Outcome { image, value, success: true },
            None => Outcome { image: self.best.point, value: self.best.value, success: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kd_core::Stream;

    fn search(image: &[f32]) -> Search<'_> {
        Search::new(Norm::Linf, 0.1, image, &mut Stream::new(1).rng())
    }

    #[test]
    fn the_start_is_at_full_distance_and_the_step_twice_eps() {
        let search = search(&[0.5; 9]);
        assert!((Norm::Linf.distance(search.point(), &[0.5; 9]) - 0.1).abs() < 1e-6);
        assert!((search.step_size - 0.2).abs() < 1e-7);
    }

    #[test]
    fn the_best_value_never_decreases() {
        let mut search = search(&[0.5; 4]);
        let mut rng = Stream::new(2).rng();
        let mut largest = f32::NEG_INFINITY;
        for step in 0..60 {
            let value = rng.uniform();
            let grad: Vec<f32> = (0..4).map(|_| rng.normal()).collect();
            search.observe(value, &grad, false);
            largest = largest.max(value);
            assert_eq!(search.best.value.to_bits(), largest.to_bits());
            if step % 7 == 6 {
                search.check(0.75);
            }
            search.advance();
        }
        let outcome = search.outcome();
        assert!(!outcome.success && outcome.value.to_bits() == largest.to_bits());
    }

    #[test]
    fn a_stuck_search_halves_its_step_and_goes_back() {
        let mut search = search(&[0.5; 2]);
        search.observe(5.0, &[1.0, -1.0], false);
        let best = search.point().to_vec();
        for _ in 0..4 {
            search.advance();
            search.observe(1.0, &[-1.0, 1.0], false);
        }
        assert_ne!(search.point(), best);
        search.check(0.75);
        assert!((search.step_size - 0.1).abs() < 1e-7);
        assert_eq!((search.point(), search.here.grad[0]), (best.as_slice(), 1.0));
    }

    #[test]
    fn steady_progress_keeps_the_step() {
        let mut search = search(&[0.5; 2]);
        for step in 0..5 {
            search.observe(step as f32, &[1.0, 1.0], false);
            search.advance();
        }
        search.check(0.75);
        assert!((search.step_size - 0.2).abs() < 1e-7);
    }

    #[test]
    fn three_increases_of_four_are_enough_for_rho_of_three_quarters() {
        for (values, step_size) in [([1.0, 2.0, 3.0, 3.0], 0.2), ([1.0, 2.0, 2.0, 2.0], 0.1)] {
            let mut search = search(&[0.5; 2]);
            search.observe(0.0, &[1.0, 1.0], false);
            for value in values {
                search.advance();
                search.observe(value, &[1.0, 1.0], false);
            }
            search.check(0.75);
            assert!((search.step_size - step_size).abs() < 1e-7, "{values:?}");
        }
    }

    #[test]
    fn increases_below_the_best_value_halve_at_the_second_checkpoint() {
        let mut search = search(&[0.5; 2]);
        search.observe(10.0, &[1.0, 1.0], false);
        search.check(0.0);
        assert!((search.step_size - 0.2).abs() < 1e-7, "the first value is better than none");
        search.advance();
        search.observe(1.0, &[1.0, 1.0], false);
        search.check(0.0);
        assert!((search.step_size - 0.1).abs() < 1e-7);
        search.check(0.0);
        assert!((search.step_size - 0.1).abs() < 1e-7, "it has just been halved");
    }

    #[test]
    fn steps_with_momentum_by_hand() {
        let mut search = search(&[0.5; 1]);
        search.here.point = vec![0.55];
        search.observe(0.0, &[-1.0], false);
        search.advance();
        assert!((search.point()[0] - 0.4).abs() < 1e-6, "the first step is whole");
        search.step_size = 0.04;
        search.observe(0.0, &[1.0], false);
        search.advance();
        // 0.4 + 0.75 * 0.04 + 0.25 * (0.4 - 0.55) = 0.3925, outside the ball.
        assert!((search.point()[0] - 0.4).abs() < 1e-6);
        search.step_size = 0.08;
        search.observe(0.0, &[1.0], false);
        search.advance();
        assert!((search.point()[0] - 0.46).abs() < 1e-6);
    }

    #[test]
    fn the_adversarial_point_with_the_largest_objective_is_kept() {
        let mut search = search(&[0.5; 2]);
        for (value, success) in [(3.0, false), (1.0, true), (2.0, true), (0.0, true)] {
            search.here.point = vec![value; 2];
            search.observe(value, &[0.0; 2], success);
        }
        let outcome = search.outcome();
        assert!(outcome.success);
        assert_eq!(outcome.image, [2.0; 2]);
    }
}
