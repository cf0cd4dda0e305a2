//! Attention transfer.

use candle_core::{DType, Tensor};
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::maps::{normalized, of_one_size};
use super::mlkd::sum;
use super::pair::{Pair, stages, students, teachers};
use super::rows::{check, with_labels};
use super::{Loss, LossInput};

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
            Ok((attention(&own)? - attention(&theirs)?)?.sqr()?.mean_all()?)
        });
        with_labels(input, self.hard, (sum(distances)? * self.weight)?)
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn taps(&self) -> Vec<String> {
        students(&self.taps)
    }

    fn teacher_taps(&self) -> Vec<String> {
        teachers(&self.taps)
    }

    fn check(&self) -> Result<()> {
        super::pair::check(&self.taps)?;
        check(&[("hard", self.hard), ("weight", self.weight)], &[])
    }
}

/// Rows of length 1, `(N, H W)`, in f64.
fn attention(map: &Tensor) -> Result<Tensor> {
    normalized(&map.sqr()?.mean(3)?.flatten_from(1)?.to_dtype(DType::F64)?)
}
