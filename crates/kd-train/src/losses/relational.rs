//! Relational distillation.

use candle_core::{D, DType, Tensor};
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::maps::normalized;
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
        let (own, theirs) = (own.flatten_from(1)?, theirs.flatten_from(1)?);
        let distance = (huber(&(distances(&own)? - distances(&theirs)?)?)? * self.distance)?;
        let angle = (huber(&(angles(&own)? - angles(&theirs)?)?)? * self.angle)?;
        with_labels(input, self.hard, (distance + angle)?)
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn taps(&self) -> Vec<String> {
        vec![self.tap.student.clone()]
    }

    fn teacher_taps(&self) -> Vec<String> {
        vec![self.tap.teacher.clone()]
    }

    fn check(&self) -> Result<()> {
        let weights = [("hard", self.hard), ("distance", self.distance), ("angle", self.angle)];
        check(&weights, &[])
    }
}

/// Distances of all pairs of rows, `(N, N)`, divided by the mean of those above 0.
fn distances(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.to_dtype(DType::F64)?;
    let squares = rows.sqr()?.sum_keepdim(1)?;
    let products = (rows.matmul(&rows.t()?)? * 2.0)?;
    let between = squares.broadcast_add(&squares.t()?)?.sub(&products)?.clamp(1e-12, f64::MAX)?;
    // An image is no distance from itself, whatever rounding leaves; and a root of 0 has no gradient.
    let others = (1.0 - Tensor::eye(rows.dims()[0], DType::F64, rows.device())?)?;
    let between = (between.sqrt()? * &others)?;
    let n_others = others.sum_all()?.to_scalar::<f64>()?.max(1.0);
    // Of one image alone there is none.
    let mean = ((between.sum_all()? / n_others)? + 1e-12)?;
    Ok(between.broadcast_div(&mean)?)
}

/// For each row i, the cosines between its directions to all pairs of rows, `(N, N, N)`.
fn angles(rows: &Tensor) -> Result<Tensor> {
    let to_others = rows.unsqueeze(0)?.broadcast_sub(&rows.unsqueeze(1)?)?;
    let directions = normalized(&to_others)?;
    Ok(directions.matmul(&directions.transpose(1, 2)?.contiguous()?)?)
}

/// The mean of `d^2 / 2` where |d| < 1, of `|d| - 1/2` elsewhere.
fn huber(difference: &Tensor) -> Result<Tensor> {
    // d^2 / 2 - (|d| - 1)^2 / 2 where |d| is above 1.
    let beyond = (difference.abs()? - 1.0)?.relu()?.sqr()?;
    let halves = (difference.sqr()? - beyond)?;
    let n = difference.elem_count() as f64;
    Ok((halves.sum(D::Minus1)?.to_dtype(DType::F64)?.sum_all()? / (2.0 * n))?)
}
