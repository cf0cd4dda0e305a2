//! One example's searches: Adam for one constant after the other.

use super::CarliniWagner;
use super::variable::Variable;
use crate::Norm;

/// An example on its way through all searches, which waits for the network's answer at
/// [`Search::image`].
pub(super) struct Search<'a> {
    attack: &'a CarliniWagner,
    clean: &'a [f32],
    constant: Constant,
    /// Searches still to come.
    n_left: usize,
    n_steps: usize,
    has_succeeded: bool,
    /// The loss a tenth of the steps ago.
    last_loss: f64,
    variable: Variable,
    expansion: Expansion,
    /// At the image itself, where every search begins.
    first_expansion: Option<Expansion>,
    /// How far the expansion is trusted.
    radius: f64,
    is_finished: bool,
    best: Option<(f64, Vec<f32>)>,
}

/// The network near an image at which it was asked.
#[derive(Debug, Clone, Default)]
struct Expansion {
    image: Vec<f32>,
    margin: f32,
    gradient: Vec<f32>,
}

/// Where a search is.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Squared distance from the example.
    distance: f64,
    /// By the expansion.
    margin: f32,
    /// Squared distance from where the network was asked.
    moved: f64,
}

/// A first radius, as a fraction of the way to the boundary by the first expansion, or of 1.
const FIRST_RADIUS: f64 = 0.1;

/// Only what is nearer than the best image by this factor (of squared distances) is worth a
/// question.
const NEARER: f64 = 0.995;

impl<'a> Search<'a> {
    pub(super) fn new(attack: &'a CarliniWagner, clean: &'a [f32]) -> Self {
        Self {
            attack,
            clean,
            constant: Constant::new(attack.initial_const),
            n_left: attack.n_searches - 1,
            n_steps: 0,
            has_succeeded: false,
            last_loss: f64::INFINITY,
            variable: Variable::new(clean),
            expansion: Expansion::default(),
            first_expansion: None,
            radius: 0.0,
            is_finished: false,
            best: None,
        }
    }

    /// Where the network has to be asked.
    pub(super) fn image(&self) -> &[f32] {
        self.variable.image()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The nearest image that the network confirmed.
    pub(super) fn into_best(self) -> Option<Vec<f32>> {
        self.best.map(|(_, image)| image)
    }

    /// Takes the network's answer, and goes on until it has to be asked again or all is done.
    pub(super) fn advance(&mut self, margin: f32, gradient: &[f32]) {
        self.trust(margin, gradient);
        let (image, gradient) = (self.image().to_vec(), gradient.to_vec());
        self.expansion = Expansion { image, margin, gradient };
        self.first_expansion.get_or_insert_with(|| self.expansion.clone());
        let mut point = self.point();
        self.keep(point);
        while !self.is_finished {
            if self.has_ended(point) {
                self.next_search();
            } else {
                self.step(point);
            }
            point = self.point();
            if self.must_ask(point) {
                return;
            }
        }
    }

    /// Sets the radius by how well the expansion predicted the answer.
    fn trust(&mut self, margin: f32, gradient: &[f32]) {
        let tolerance = f64::from(self.attack.tolerance);
        let Some(first) = &self.first_expansion else {
            let slope = Norm::L2.length(gradient);
            let way = f64::from(self.attack.kappa - margin) / slope;
            self.radius = if tolerance > 0.0 { FIRST_RADIUS * way.min(1.0) } else { 0.0 };
            return;
        };
        let missing = f64::from(self.attack.kappa - first.margin);
        let error = f64::from(self.point().margin - margin).abs() / missing;
        if error > tolerance {
            self.radius *= 0.5;
        } else if error < 0.25 * tolerance {
            self.radius *= 1.5;
        }
    }

    fn point(&self) -> Point {
        let Expansion { image: asked, margin, gradient } = &self.expansion;
        let mut point = Point { distance: 0.0, margin: *margin, moved: 0.0 };
        let (mut distance, mut moved, mut change) = (0.0, 0.0, 0.0);
        let pixels = self.image().iter().zip(self.clean).zip(asked.iter().zip(gradient));
        for ((x, clean), (asked, slope)) in pixels {
            distance += (x - clean) * (x - clean);
            moved += (x - asked) * (x - asked);
            change += (x - asked) * slope;
        }
        point.margin += change;
        (point.distance, point.moved) = (f64::from(distance), f64::from(moved));
        point
    }

    /// Whether the margin is large enough; 0 would leave the prediction to the order of classes.
    fn is_success(&self, margin: f32) -> bool {
        margin > 0.0 && margin >= self.attack.kappa
    }

    fn keep(&mut self, point: Point) {
        if self.is_success(point.margin) {
            self.has_succeeded = true;
            if self.best.as_ref().is_none_or(|(distance, _)| point.distance < *distance) {
                self.best = Some((point.distance, self.image().to_vec()));
            }
        }
    }

    fn must_ask(&self, point: Point) -> bool {
        let is_nearer = || self.best.as_ref().is_none_or(|best| point.distance < NEARER * best.0);
        point.moved > self.radius * self.radius || self.is_success(point.margin) && is_nearer()
    }

    /// Whether all steps are done, or the last tenth of them was in vain after a success.
    fn has_ended(&mut self, point: Point) -> bool {
        if self.n_steps == self.attack.n_steps {
            return true;
        }
        if !self.n_steps.is_multiple_of(self.attack.n_steps.div_ceil(10)) {
            return false;
        }
        let missing = (self.attack.kappa - point.margin).max(0.0);
        let loss = point.distance + f64::from(self.constant.value * missing);
        let in_vain = loss > 0.9999 * self.last_loss;
        self.last_loss = loss;
        in_vain && self.has_succeeded
    }

    /// Down the gradient of the loss, `2 (x' - x) - c dm/dx'` while the margin is too small.
    fn step(&mut self, point: Point) {
        let weight = if self.is_success(point.margin) { 0.0 } else { self.constant.value };
        let pixels = self.image().iter().zip(self.clean).zip(&self.expansion.gradient);
        let gradient = pixels.map(|((x, clean), slope)| 2.0 * (x - clean) - weight * slope);
        let gradient: Vec<f32> = gradient.collect();
        self.variable.step(self.attack.learning_rate, &gradient);
        self.n_steps += 1;
    }

    /// Begins anew at the image, with the next constant.
    fn next_search(&mut self) {
        if self.n_left == 0 {
            self.is_finished = true;
            return;
        }
        self.n_left -= 1;
        self.constant.change(self.has_succeeded);
        self.has_succeeded = false;
        self.n_steps = 0;
        self.last_loss = f64::INFINITY;
        self.variable = Variable::new(self.clean);
        self.expansion = self.first_expansion.clone().unwrap_or_default();
    }
}

/// The weight of the margin, found by bisection.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Constant {
    value: f32,
    /// The largest that failed.
    lower: f32,
    /// The smallest that succeeded.
    upper: Option<f32>,
}

/// Where the constant stops growing.
const MAX_CONSTANT: f32 = 1e10;

impl Constant {
    fn new(value: f32) -> Self {
        Self { value, lower: 0.0, upper: None }
    }

    fn change(&mut self, has_succeeded: bool) {
        if has_succeeded {
            self.upper = Some(self.value);
        } else {
            self.lower = self.value;
        }
        self.value = match self.upper {
            Some(upper) => (self.lower + upper) / 2.0,
            None => (10.0 * self.value).min(MAX_CONSTANT),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_grows_tenfold_and_is_then_bisected() {
        let mut constant = Constant::new(0.5);
        let mut values = Vec::new();
        for has_succeeded in [false, false, true, true, false] {
            constant.change(has_succeeded);
            values.push(constant.value);
        }
        assert_eq!(values, [5.0, 50.0, 27.5, 16.25, 21.875]);
        let mut constant = Constant::new(1e10);
        constant.change(false);
        assert_eq!(constant, Constant { value: 1e10, lower: 1e10, upper: None });
    }

    /// One pixel, and a network that is `m = 10 x - 7` everywhere.
    #[test]
    fn an_exact_expansion_is_asked_about_successes_only() {
        let attack = CarliniWagner { tolerance: 0.005, ..CarliniWagner::default() };
        let clean = [0.5];
        let mut search = Search::new(&attack, &clean);
        let mut n_successes = 0;
        let mut n_asked = 0;
        while !search.is_finished() {
            let margin = 10.0 * search.image()[0] - 7.0;
            n_asked += 1;
            n_successes += usize::from(margin > 0.0);
            search.advance(margin, &[10.0]);
        }
        assert!(n_successes > 0 && n_asked < 150, "{n_successes} of {n_asked}");
        let best = search.into_best().unwrap()[0];
        assert!((0.7..0.702).contains(&best), "{best}");
    }
}
