//! Relational distillation.

use candle_core::Tensor;
use kd_core::Result;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::maps::{given, values};
use super::pair::Pair;
use super::rows::{check, with_labels};
use super::{Loss, LossInput};

/// `hard CE + distance h(D(s), D(t)) + angle h(A(s), A(t))`: D are the distances of all pairs of images' features,
/// divided by the mean of those above 0; A the cosines of the angles of all triples; h is Huber's loss,
/// the mean (Park et al. 2019, arXiv:1904.05068, eq. 3 to 8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Relational {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the distances.
    pub distance: f64,
    /// Weight of the angles.
    pub angle: f64,
    /// The parts: `PART` or `STUDENT=TEACHER`.
    pub tap: Pair,
}

impl Default for Relational {
    fn default() -> Self {
        Self { hard: 1.0, distance: 25.0, angle: 50.0, tap: "pooled".into() }
    }
}

impl Loss for Relational {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let [own, theirs] = self.tap.of(input)?;
        let (student, teacher) = (Relations::of(&own)?, Relations::of(&theirs)?);
        let n = own.dims()[0];
        let mut slopes = Slopes { products: vec![0.0; n * n], distances: vec![0.0; n * n] };
        let distance = slopes.distances(&student, &teacher, self.distance);
        let angle = slopes.angles(&student, &teacher, self.angle);
        let grad = slopes.of_rows(&student).into_iter().map(|g| g as f32).collect();
        with_labels(input, self.hard, given(&own, distance + angle, grad)?)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn pairs(&self) -> &[Pair] {
        std::slice::from_ref(&self.tap)
    }

    fn check(&self) -> Result<()> {
        let weights = [("hard", self.hard), ("distance", self.distance), ("angle", self.angle)];
        check(&weights, &[])
    }
}

/// The least that a squared distance counts as.
const NEAREST: f64 = 1e-12;

/// Images by their products and distances; matrices are `(N, N)`, row by row.
struct Relations {
    n: usize,
    /// The images' features, row by row.
    rows: Vec<f64>,
    products: Vec<f64>,
    distances: Vec<f64>,
    /// The mean distance of two images.
    mean: f64,
}

impl Relations {
    fn of(part: &Tensor) -> Result<Self> {
        let (n, rows) = (part.dims()[0], values(part)?);
        let row = |i: usize| &rows[i * rows.len() / n..][..rows.len() / n];
        let pairs = || (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
        let product = |(i, j)| row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f64>();
        let products: Vec<f64> = pairs().map(product).collect();
        let distance = |(i, j): (usize, usize)| {
            let squared = products[i * n + i] + products[j * n + j] - 2.0 * products[i * n + j];
            if i == j { 0.0 } else { squared.max(NEAREST).sqrt() }
        };
        let distances: Vec<f64> = pairs().map(distance).collect();
        // Of one image alone there is none.
        let mean = distances.iter().sum::<f64>() / (n * (n - 1)).max(1) as f64 + NEAREST;
        Ok(Self { n, rows, products, distances, mean })
    }

    /// 1 / distance of i and j; 0 of an image from itself.
    fn inverse(&self, i: usize, j: usize) -> f64 {
        if i == j { 0.0 } else { 1.0 / self.distances[i * self.n + j] }
    }

    /// `(x_j - x_i) (x_k - x_i)`.
    fn corner(&self, i: usize, j: usize, k: usize) -> f64 {
        let product = |a: usize, b: usize| self.products[a * self.n + b];
        product(j, k) - product(i, j) - product(i, k) + product(i, i)
    }
}

/// The gradient, by products and by distances of the student's images.
struct Slopes {
    products: Vec<f64>,
    distances: Vec<f64>,
}

impl Slopes {
    /// `weight` times the mean of Huber's loss of the distances, each divided by their mean.
    fn distances(&mut self, own: &Relations, theirs: &Relations, weight: f64) -> f64 {
        let n = own.n;
        let (mut value, mut along) = (0.0, 0.0);
        let weight = weight / (n * n) as f64;
        let pairs = own.distances.iter().zip(&theirs.distances);
        for ((d, t), slope) in pairs.zip(&mut self.distances) {
            let (h, dh) = huber(d / own.mean - t / theirs.mean);
            value += weight * h;
            along += weight * dh * d / own.mean.powi(2);
            *slope += weight * dh / own.mean;
        }
        // Each distance moves the mean as well.
        let share = along / (n * (n - 1)).max(1) as f64;
        self.distances.iter_mut().for_each(|slope| *slope -= share);
        value
    }

    /// `weight` times the mean of Huber's loss of the cosines of all triples.
    fn angles(&mut self, own: &Relations, theirs: &Relations, weight: f64) -> f64 {
        let n = own.n;
        let weight = weight / (n * n * n) as f64;
        let parts: Vec<Triples> =
            (0..n).into_par_iter().map(|j| Triples::of(own, theirs, j)).collect();
        let mut value = 0.0;
        for (j, part) in parts.iter().enumerate() {
            value += weight * part.value;
            for i in 0..n {
                self.products[j * n + i] += weight * part.ends[i];
                self.products[i * n + j] -= 2.0 * weight * part.corners[i];
                self.products[i * n + i] += weight * part.corners[i];
                self.distances[i * n + j] -= 2.0 * weight * part.lengths[i];
            }
        }
        value
    }

    /// By the student's features, row by row.
    fn of_rows(mut self, own: &Relations) -> Vec<f64> {
        let n = own.n;
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|(i, j)| i != j) {
            let distance = own.distances[i * n + j];
            // What is nearer than the nearest does not move.
            if distance * distance > NEAREST {
                let slope = self.distances[i * n + j] / distance;
                self.products[i * n + j] -= slope;
                self.products[i * n + i] += slope / 2.0;
                self.products[j * n + j] += slope / 2.0;
            }
        }
        let width = own.rows.len() / n;
        let row = |i: usize| {
            let mut grad = vec![0.0; width];
            for j in 0..n {
                let slope = self.products[i * n + j] + self.products[j * n + i];
                let other = &own.rows[j * width..][..width];
                grad.iter_mut().zip(other).for_each(|(g, x)| *g += slope * x);
            }
            grad
        };
        (0..n).flat_map(row).collect()
    }
}

/// Of all triples (i, j, k) with one j: the loss of the angles at i, and its slopes.
struct Triples {
    value: f64,
    /// By the product of j and k, for each k.
    ends: Vec<f64>,
    /// By the products with i, for each i.
    corners: Vec<f64>,
    /// By the distance of i and j, negative, for each i.
    lengths: Vec<f64>,
}

impl Triples {
    fn of(own: &Relations, theirs: &Relations, j: usize) -> Self {
        let n = own.n;
        let (mut value, mut ends) = (0.0, vec![0.0; n]);
        let (mut corners, mut lengths) = (vec![0.0; n], vec![0.0; n]);
        for i in (0..n).filter(|i| *i != j) {
            let (to_j, their_to_j) = (own.inverse(i, j), theirs.inverse(i, j));
            for k in (0..n).filter(|k| *k != i) {
                let scale = to_j * own.inverse(i, k);
                let cosine = own.corner(i, j, k) * scale;
                let their = theirs.corner(i, j, k) * their_to_j * theirs.inverse(i, k);
                let (h, dh) = huber(cosine - their);
                value += h;
                ends[k] += dh * scale;
                corners[i] += dh * scale;
                lengths[i] += dh * cosine * to_j;
            }
        }
        Self { value, ends, corners, lengths }
    }
}

/// `d^2 / 2` where |d| < 1, `|d| - 1/2` elsewhere; and its slope.
fn huber(d: f64) -> (f64, f64) {
    if d.abs() < 1.0 { (d * d / 2.0, d) } else { (d.abs() - 0.5, d.signum()) }
}
