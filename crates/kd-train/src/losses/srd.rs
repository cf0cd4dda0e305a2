//! A projector and a distance: the simple recipe.

use candle_core::{DType, Tensor};
use kd_core::{Params, Result};
use serde::{Deserialize, Serialize};

use super::maps::{begin_projected, pooled, projected};
use super::pair::Pair;
use super::rows::{check, with_labels};
use super::{Loss, LossInput};

/// Added to the variances, as in the authors' code.
const EPS: f64 = 1e-4;

/// `hard CE + weight log sum |B(W s + b) - B(t)|^exponent`: s and t are pooled features, W and b a projector that
/// is learned, B normalizes each of its outputs over the batch, without a scale of its own (Miles and
/// Mikolajczyk 2024, arXiv:2303.11098, eq. 6 and 9; the weight and the exponent are those of its ImageNet
/// code).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Srd {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the distance.
    pub weight: f64,
    /// Above 1.
    pub exponent: f64,
    /// The parts: `PART` or `STUDENT=TEACHER`.
    pub tap: Pair,
}

impl Default for Srd {
    fn default() -> Self {
        Self { hard: 1.0, weight: 2.0, exponent: 4.0, tap: "pooled".into() }
    }
}

impl Loss for Srd {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let [student, teacher] = self.tap.of(input)?;
        let projected = projected(&pooled(&student)?, input.own, "")?;
        let difference = (whitened(&projected)? - whitened(&pooled(&teacher)?)?)?;
        // |d|^e = (d^2)^(e/2), whose gradient at 0 is a number.
        let powers = (difference.sqr()? + f64::MIN_POSITIVE)?.powf(self.exponent / 2.0)?;
        let distance = (powers.sum_all()? + f64::MIN_POSITIVE)?.log()?;
        with_labels(input, self.hard, (distance * self.weight)?)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn pairs(&self) -> &[Pair] {
        std::slice::from_ref(&self.tap)
    }

    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let [student, teacher] = self.tap.of(first)?;
        let (student, n_out) = (pooled(&student)?, pooled(&teacher)?.dims()[1]);
        let mut params = Params::new();
        begin_projected(&mut params, "", n_out, (&student, first.stream))?;
        Ok(params)
    }

    fn check(&self) -> Result<()> {
        let weights = [("hard", self.hard), ("weight", self.weight)];
        check(&weights, &[self.exponent - 1.0])
    }
}

/// `(x - mean) / sqrt(variance + 1e-4)` of each column, over the batch, in f64.
fn whitened(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.to_dtype(DType::F64)?;
    let centered = rows.broadcast_sub(&rows.mean_keepdim(0)?)?;
    let variance = centered.sqr()?.mean_keepdim(0)?;
    Ok(centered.broadcast_div(&(variance + EPS)?.sqrt()?)?)
}
