//! Distillation by correlation.

use candle_core::Tensor;
use kd_core::Result;
use serde::{Deserialize, Serialize};

use super::rows::{check, log_softmax, student, teacher, with_labels};
use super::{Loss, LossInput};

/// What is added to the lengths of rows, so that equal numbers have no infinite correlation.
const EPS: f64 = 1e-8;

/// `hard CE + T^2 (beta mean_n (1 - r(p_n, q_n)) + gamma mean_k (1 - r(p^k, q^k)))`, with Pearson's r of the
/// probabilities of an image, and of those of a class over the batch, at T (Huang et al. 2022,
/// arXiv:2205.10536, eq. 8 to 10).
///
/// The squared lengths have 1e-16 added before the root, which is the authors' 1e-8 where that counts, and
/// keeps the gradient of rows of equal numbers finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dist {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the correlation over classes.
    pub beta: f64,
    /// Weight of the correlation over images.
    pub gamma: f64,
    /// T > 0.
    pub temperature: f64,
}

impl Default for Dist {
    /// Those of CIFAR-100; on ImageNet beta and gamma are 1, T is 1.
    fn default() -> Self {
        Self { hard: 1.0, beta: 2.0, gamma: 2.0, temperature: 4.0 }
    }
}

impl Loss for Dist {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let probabilities = |z: Tensor| log_softmax(&(z / self.temperature)?)?.exp();
        let (p, q) = (probabilities(student(input)?)?, probabilities(teacher(input)?)?);
        let of_images = (distance(&p, &q)? * self.beta)?;
        let of_classes = (distance(&p.t()?, &q.t()?)? * self.gamma)?;
        let square = self.temperature * self.temperature;
        with_labels(input, self.hard, ((of_images + of_classes)? * square)?)
    }

    fn temperature(&self) -> Option<f64> {
        Some(self.temperature)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn check(&self) -> Result<()> {
        let weights = [("hard", self.hard), ("beta", self.beta), ("gamma", self.gamma)];
        check(&weights, &[self.temperature])
    }
}

/// The mean over rows of one less their correlation.
fn distance(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let centered = |rows: &Tensor| rows.broadcast_sub(&rows.mean_keepdim(1)?);
    let (a, b) = (centered(a)?, centered(b)?);
    let length = |rows: &Tensor| (rows.sqr()?.sum(1)? + EPS * EPS)?.sqrt();
    let correlation = ((&a * &b)?.sum(1)? / (length(&a)? * length(&b)?)?)?;
    Ok((1.0 - correlation.mean_all()?)?)
}
