//! Steps along the gradient within a ball: the loop of FGSM, BIM, PGD and MI-FGSM.

use kd_core::{Result, Stream, at_least_one, in_range, positive};
use rayon::prelude::*;

use crate::attack::check_ball;
use crate::{Attack, Examples, Norm, Objective, Victim};

/// An attack that is one [`Ascent`].
pub(super) trait Ascending: Send + Sync {
    /// Its settings.
    fn ascent(&self) -> Ascent;

    /// The radius of its ball.
    fn eps_mut(&mut self) -> &mut f32;

    /// Where it begins: at the images themselves, unless it says otherwise.
    fn start(&self, examples: &Examples, _stream: Stream) -> Vec<f32> {
        examples.pixels.clone()
    }
}

impl<T: Ascending> Attack for T {
    fn check(&self) -> Result<()> {
        self.ascent().check()
    }

    fn norm(&self) -> Norm {
        self.ascent().norm
    }

    fn eps(&self) -> Option<f32> {
        Some(self.ascent().eps)
    }

    fn set_eps(&mut self, eps: f32) -> bool {
        *self.eps_mut() = eps;
        true
    }

    fn step_size(&self) -> Option<f32> {
        let Ascent { n_steps, step_size, .. } = self.ascent();
        (n_steps > 1).then_some(step_size)
    }

    fn n_passes(&self, _n_pixels: usize) -> usize {
        self.ascent().n_steps
    }

    fn run(&self, victim: &Victim<'_>, examples: &Examples, stream: Stream) -> Result<Vec<f32>> {
        self.ascent().run(victim, examples, self.start(examples, stream))
    }
}

/// `x_{t+1} = project(x_t + step_size * direction(g_t))` for `n_steps` steps, all examples at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ascent {
    /// The ball, and in which direction a step goes: `sign(g)`, or `g / |g|_2`.
    pub(super) norm: Norm,
    pub(super) eps: f32,
    pub(super) step_size: f32,
    pub(super) n_steps: usize,
    /// Without, g is the gradient; with, `g_t = decay * g_{t-1} + gradient / |gradient|_1`.
    pub(super) decay: Option<f32>,
    pub(super) objective: Objective,
}

impl Ascent {
    /// Refuses settings outside their domain.
    pub(super) fn check(&self) -> Result<()> {
        check_ball(self.norm, self.eps)?;
        at_least_one("n_steps", self.n_steps)?;
        positive("step_size", self.step_size)?;
        in_range("decay", self.decay.unwrap_or(0.0), 0.0, 1.0)?;
        self.objective.check()
    }

    /// The last of the images that begin as `images`.
    pub(super) fn run(
        &self,
        victim: &Victim<'_>,
        examples: &Examples,
        mut images: Vec<f32>,
    ) -> Result<Vec<f32>> {
        self.objective.check_classes(victim.n_classes(), examples.targets.is_some())?;
        let n = victim.n_pixels();
        let mut g = vec![0.0; images.len()];
        for _ in 0..self.n_steps {
            let gradient = self.gradient(victim, examples, &images)?;
            match self.decay {
                Some(decay) => accumulate(&mut g, &gradient, n, decay),
                None => g = gradient,
            }
            let moved = images.par_chunks_exact_mut(n).zip(g.par_chunks_exact(n));
            moved.zip(examples.pixels.par_chunks_exact(n)).for_each(|((image, g), center)| {
                self.norm.step(image, g, self.step_size);
                self.norm.project(image, center, self.eps);
            });
        }
        Ok(images)
    }

    fn gradient(
        &self,
        victim: &Victim<'_>,
        examples: &Examples,
        images: &[f32],
    ) -> Result<Vec<f32>> {
        let seed = |i: usize, logits: &[f32], seeds: &mut [f32]| {
            let label = examples.labels[i] as usize;
            self.objective.value(logits, label, examples.target(i), seeds);
        };
        Ok(victim.pullback(images, seed)?.pixels)
    }
}

/// `g = decay * g + gradient / |gradient|_1`, row by row; a gradient of zeros adds nothing.
fn accumulate(g: &mut [f32], gradient: &[f32], n_pixels: usize, decay: f32) {
    let rows = g.par_chunks_exact_mut(n_pixels).zip(gradient.par_chunks_exact(n_pixels));
    rows.for_each(|(g, gradient)| {
        let sum: f64 = gradient.iter().map(|value| f64::from(value.abs())).sum();
        let scale = if sum > 0.0 { 1.0 / sum } else { 0.0 };
        for (g, gradient) in g.iter_mut().zip(gradient) {
            *g = decay * *g + (f64::from(*gradient) * scale) as f32;
        }
    });
}

/// The step size of an attack that is given none: a part of the radius, and a number above 0 where that
/// is 0, since no step may be 0.
pub(super) fn part_of(eps: f32, parts: f32) -> f32 {
    if eps > 0.0 { eps / parts } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::{Bim, Pgd};
    use crate::testing::{Mlp, bits, examples, floats, golden, numbers, predictions, victim};
    use crate::{AttackSpec, attack};

    #[test]
    fn momentum_by_hand() {
        let mut g = vec![0.5, -0.5, 1.0, 2.0];
        accumulate(&mut g, &[3.0, -1.0, 0.0, 0.0], 2, 0.5);
        assert_eq!(g, [0.25 + 0.75, -0.25 - 0.25, 0.5, 1.0]);
    }

    #[test]
    fn a_step_size_that_is_given_stays_and_the_default_follows_the_radius() {
        let at = |spec: AttackSpec, eps| spec.with_eps(eps).unwrap().step_size().unwrap();
        let given = || Pgd { step_size: Some(0.02), ..Pgd::default() };
        assert_eq!(bits(&[at(given().into(), 0.1)]), bits(&[0.02]));
        assert!((at(Pgd::default().into(), 0.3) - 0.01).abs() < 1e-8);
        assert!((at(Pgd::default().into(), 0.6) - 0.02).abs() < 1e-8);
        assert!((at(Bim::default().into(), 16.0 / 255.0) - 1.0 / 255.0).abs() < 1e-8);
        assert!(at(Pgd::default().into(), 0.0) > 0.0);
    }

    /// `J` of a linear network along a path is known: each L2 step moves by `step_size` along the
    /// same direction until the ball ends.
    #[test]
    fn l2_steps_on_a_linear_network_go_straight_to_the_edge_of_the_ball() {
        let model = Mlp::random_linear(2, 1);
        let victim = victim(&model);
        let examples = examples(&victim, 3, (0.4, 0.6));
        let ascent = |n_steps| Ascent {
            norm: Norm::L2,
            eps: 0.25,
            step_size: 0.1,
            n_steps,
            decay: None,
            objective: Objective::default(),
        };
        for (n_steps, want) in [(1, 0.1), (2, 0.2), (3, 0.25), (9, 0.25)] {
            let images = ascent(n_steps).run(&victim, &examples, examples.pixels.clone()).unwrap();
            for (i, image) in images.chunks_exact(victim.n_pixels()).enumerate() {
                let distance = Norm::L2.distance(image, examples.image(i));
                assert!((distance - want).abs() < 1e-5, "{n_steps} steps: {distance}");
            }
        }
    }
    /// FGSM, BIM, MI-FGSM and PGD, with and without targets, against the same steps in PyTorch
    /// (`make_golden_attacks.py`).
    #[test]
    fn steps_on_a_small_network_equal_the_golden_ones() {
        let golden = golden("attack_steps.json");
        let layers = [0, 1].map(|i| &golden["layers"][i]);
        let weights = layers.map(|layer| floats(&layer["weight"]));
        let biases = layers.map(|layer| floats(&layer["bias"]));
        let model = Mlp::two_layers([&weights[0], &weights[1]], [&biases[0], &biases[1]]);
        let victim = victim(&model);
        let classes = |name: &str| floats(&golden[name]).iter().map(|k| *k as u32).collect();
        let examples = Examples {
            pixels: floats(&golden["images"]),
            labels: classes("labels"),
            indices: (0..6).collect(),
            targets: None,
        };
        assert_eq!(predictions(&victim, &examples.pixels), examples.labels);
        let targeted = Examples { targets: Some(classes("targets")), ..examples.clone() };
        let runs = golden["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 6);
        for run in runs {
            let spec: AttackSpec = serde_json::from_value(run["settings"].clone()).unwrap();
            for (side, examples) in [("untargeted", &examples), ("targeted", &targeted)] {
                let got = attack(&spec, &victim, examples, Stream::new(0)).unwrap().pixels;
                for (at, (got, want)) in got.iter().zip(numbers(&run[side])).enumerate() {
                    let close = (f64::from(*got) - want).abs() < 1e-5;
                    assert!(close, "{spec:?}, {side}, value {at}: {got}, want {want}");
                }
            }
        }
    }
}
