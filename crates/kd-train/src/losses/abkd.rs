//! Distillation by the alpha-beta divergence.

use candle_core::{D, Tensor};
use kd_core::{Result, positive};
use serde::{Deserialize, Serialize};

use super::rows::{check, log_softmax, student, teacher, with_labels};
use super::{Loss, LossInput};

/// `hard CE + soft mean_n D(q_n, p_n)`, with
/// `D = sum_k (a q^(a+b) / (a+b) + b p^(a+b) / (a+b) - q^a p^b) / (a b)` of teacher q and student p at T (Wang et al.
/// 2025, arXiv:2505.04560, eq. 4; Cichocki et al. 2011). Large a looks at classes where the two differ much, large b
/// at those of which the student is sure. There is no T^2, as in the authors' code; a and b are above 0 here, the
/// limits at 0 (a = 1, b = 0 is the divergence of Kullback and Leibler) are `distill`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Abkd {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the divergence.
    pub soft: f64,
    /// a > 0.
    pub alpha: f64,
    /// b > 0.
    pub beta: f64,
    /// T > 0.
    pub temperature: f64,
}

impl Default for Abkd {
    /// The setting for ResNet-56 and ResNet-20 on CIFAR-100.
    fn default() -> Self {
        Self { hard: 1.0, soft: 64.0, alpha: 0.8, beta: 0.3, temperature: 4.0 }
    }
}

impl Loss for Abkd {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let (a, b) = (self.alpha, self.beta);
        let log_q = log_softmax(&(teacher(input)? / self.temperature)?)?;
        let log_p = log_softmax(&(student(input)? / self.temperature)?)?;
        let power = |log: &Tensor, exponent: f64| (log * exponent)?.exp()?.sum(D::Minus1);
        let of_teacher = (power(&log_q, a + b)? * (a / (a + b)))?;
        let of_student = (power(&log_p, a + b)? * (b / (a + b)))?;
        let of_both = ((&log_q * a)? + (&log_p * b)?)?.exp()?.sum(D::Minus1)?;
        let divergence = ((of_teacher + of_student)? - of_both)?.mean_all()?;
        with_labels(input, self.hard, (divergence * (self.soft / (a * b)))?)
    }

    fn temperature(&self) -> Option<f64> {
        Some(self.temperature)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn is_per_image(&self) -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        positive("alpha", self.alpha)?;
        positive("beta", self.beta)?;
        check(&[("hard", self.hard), ("soft", self.soft)], &[self.temperature])
    }
}
