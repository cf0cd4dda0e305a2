//! Hints: a part of the student is made to say what a part of the teacher says.

use candle_core::Tensor;
use kd_core::{Params, Result};
use serde::{Deserialize, Serialize};

use super::maps::{begin_projected, mean_squared, of_one_size, projected};
use super::pair::Pair;
use super::rows::{check, with_labels};
use super::{Loss, LossInput};

/// `hard CE + weight mean (r(s) - t)^2`: s and t are the maps of a part of student and teacher, r is a linear
/// map of channels with a bias, the regressor, which is learned (FitNets, Romero et al. 2015,
/// arXiv:1412.6550, eq. 3). Of maps of two sizes the larger one is averaged.
///
/// FitNets trains up to the hint first and then the whole student; here, as in later code, both terms count
/// at once. mdistiller's regressor has batch norm and a ReLU; this one has neither.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hint {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the distance.
    pub weight: f64,
    /// The parts: `PART` or `STUDENT=TEACHER`.
    pub tap: Pair,
}

impl Default for Hint {
    /// The second stage, as mdistiller.
    fn default() -> Self {
        Self { hard: 1.0, weight: 100.0, tap: "stage:2".into() }
    }
}

impl Loss for Hint {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let [student, teacher] = of_one_size(self.tap.of(input)?)?;
        let projected = projected(&student, input.own, "")?;
        with_labels(input, self.hard, (mean_squared(&projected, &teacher)? * self.weight)?)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn pairs(&self) -> &[Pair] {
        std::slice::from_ref(&self.tap)
    }

    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let [student, teacher] = of_one_size(self.tap.of(first)?)?;
        let mut params = Params::new();
        begin_projected(&mut params, "", teacher.dims()[3], (&student, first.stream))?;
        Ok(params)
    }

    fn check(&self) -> Result<()> {
        check(&[("hard", self.hard), ("weight", self.weight)], &[])
    }
}
