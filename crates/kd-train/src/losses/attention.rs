//! Attention transfer.

use candle_core::Tensor;
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::maps::{by_image, given, of_one_size};
use super::pair::{Pair, stages};
use super::rows::{check, sum, with_labels};
use super::{Loss, LossInput};

/// The least that a vector is divided by: maps of zeros stay zeros.
const SHORTEST: f64 = 1e-12;

/// `hard CE + weight sum over parts of mean (A(s) - A(t))^2`: A is a map's mean square over its channels, as a
/// vector of all places divided by its length (Zagoruyko and Komodakis 2017, arXiv:1612.03928, eq. 2).
/// Of maps of two sizes the larger one is averaged first.
///
/// As in the authors' code the distance is squared and the mean is over images and places; the paper's
/// equation has the distance itself, halved weights, and no mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Attention {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the distances.
    pub weight: f64,
    /// The parts, each `PART` or `STUDENT=TEACHER`.
    pub taps: Vec<Pair>,
}

impl Default for Attention {
    fn default() -> Self {
        Self { hard: 1.0, weight: 1000.0, taps: stages() }
    }
}

impl Loss for Attention {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let distances = self.taps.iter().map(|pair| {
            let [own, theirs] = of_one_size(pair.of(input)?)?;
            transfer(&own, &theirs)
        });
        with_labels(input, self.hard, (sum(distances)? * self.weight)?)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn pairs(&self) -> &[Pair] {
        &self.taps
    }

    fn check(&self) -> Result<()> {
        super::pair::check(&self.taps)?;
        check(&[("hard", self.hard), ("weight", self.weight)], &[])
    }
}

/// `mean (A(s) - A(t))^2` of maps of one size, with its gradient for s, image by image.
fn transfer(own: &Tensor, theirs: &Tensor) -> Result<Tensor> {
    let (n, h, w, _) = own.dims4()?;
    let scale = 1.0 / (n * h * w) as f64;
    let (apart, grad) = by_image([own, theirs], |both, grad| image(both, h * w, (scale, grad)))?;
    given(own, scale * apart.iter().sum::<f64>(), grad)
}

/// `|A(s) - A(t)|^2` of one image's maps; writes `scale` times its gradient for s.
fn image([s, t]: [&[f32]; 2], n_places: usize, (scale, grad): (f64, &mut [f32])) -> f64 {
    let ((own, length), (theirs, _)) = (attention(s, n_places), attention(t, n_places));
    let apart: Vec<f64> = own.iter().zip(&theirs).map(|(a, b)| a - b).collect();
    // Through a / |a|: what points along a changes nothing.
    let along: f64 = own.iter().zip(&apart).map(|(a, d)| a * d).sum();
    let channels = s.len() / n_places;
    let scale = scale * 4.0 / (length * channels as f64);
    let places = grad.chunks_exact_mut(channels).zip(s.chunks_exact(channels));
    for ((grad, s), (a, d)) in places.zip(own.iter().zip(&apart)) {
        let of_place = (scale * (d - a * along)) as f32;
        grad.iter_mut().zip(s).for_each(|(grad, s)| *grad = of_place * s);
    }
    apart.iter().map(|d| d * d).sum()
}

/// The mean square of each place's channels, as a vector divided by its length; and that length.
fn attention(map: &[f32], places: usize) -> (Vec<f64>, f64) {
    let place = |channels: &[f32]| {
        channels.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / channels.len() as f64
    };
    let squares: Vec<f64> = map.chunks_exact(map.len() / places).map(place).collect();
    let length = squares.iter().map(|q| q * q).sum::<f64>().sqrt().max(SHORTEST);
    (squares.iter().map(|q| q / length).collect(), length)
}
