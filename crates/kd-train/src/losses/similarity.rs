//! Similarity-preserving distillation.

use candle_core::{DType, Tensor};
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::maps::{self, normalized};
use super::pair::Pair;
use super::rows::{check, with_labels};
use super::{Loss, LossInput};

/// `hard CE + weight |G(s) - G(t)|^2 / N^2`: G is the matrix of the products of all pairs of images' features,
/// each row divided by its length (Tung and Mori 2019, arXiv:1907.09682, eq. 1 to 4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Similarity {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the distance.
    pub weight: f64,
    /// The parts: `PART` or `STUDENT=TEACHER`.
    pub tap: Pair,
}

impl Default for Similarity {
    fn default() -> Self {
        Self { hard: 1.0, weight: 3000.0, tap: "stage:last".into() }
    }
}

impl Loss for Similarity {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let [own, theirs] = self.tap.of(input)?;
        let distance = (products(&own)? - products(&theirs)?)?.sqr()?.mean_all()?;
        with_labels(input, self.hard, (distance * self.weight)?)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn pairs(&self) -> &[Pair] {
        std::slice::from_ref(&self.tap)
    }

    fn check(&self) -> Result<()> {
        check(&[("hard", self.hard), ("weight", self.weight)], &[])
    }
}

/// `(N, N)`, its rows of length 1.
fn products(part: &Tensor) -> Result<Tensor> {
    let rows = part.flatten_from(1)?;
    normalized(&maps::products(&rows, &rows)?.to_dtype(DType::F64)?)
}
