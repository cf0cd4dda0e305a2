//! Probabilistic knowledge transfer.

use candle_core::Tensor;
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::maps::{normalized, vectors};
use super::pair::Pair;
use super::rows::{check, with_labels};
use super::{Loss, LossInput};

/// Added to probabilities before their logarithms.
const EPS: f64 = 1e-7;

/// `hard CE + weight mean over pairs of q log (q / p)`: p and q are, for each image, `(1 + cos) / 2` of its
/// features and those of each image of the batch, divided by their sum, of student and teacher (Passalis
/// and Tefas 2018, arXiv:1803.10837, eq. 5 to 7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probabilistic {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the divergence.
    pub weight: f64,
    /// The parts: `PART` or `STUDENT=TEACHER`.
    pub tap: Pair,
}

impl Default for Probabilistic {
    fn default() -> Self {
        Self { hard: 1.0, weight: 30_000.0, tap: "pooled".into() }
    }
}

impl Loss for Probabilistic {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let [own, theirs] = self.tap.of(input)?;
        let (p, q) = (neighbours(&own)?, neighbours(&theirs)?);
        let divergence = (&q * ((&q + EPS)?.log()? - (p + EPS)?.log()?)?)?.mean_all()?;
        with_labels(input, self.hard, (divergence * self.weight)?)
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

/// How near each image is to each, as probabilities, `(N, N)`.
fn neighbours(part: &Tensor) -> Result<Tensor> {
    let rows = normalized(&vectors(part)?)?;
    let near = ((rows.matmul(&rows.t()?)? + 1.0)? / 2.0)?;
    Ok(near.broadcast_div(&near.sum_keepdim(1)?)?)
}
