//! Multi-level logit distillation.

use candle_core::{D, DType, Tensor};
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::maps::products;
use super::rows::{check, kl, log_softmax, student, sum, teacher, with_labels};
use super::{Loss, LossInput};

/// `hard CE + soft sum over T (T^2 KL(q || p) + |Q Q' - P P'|^2 / N + |Q' Q - P' P|^2 / K)`, the sum of it over
/// two versions of the images: P and Q are the probabilities of student and teacher at T, a row for each
/// image; their products say how alike images, and classes, are (Jin et al. 2023, CVPR, eq. 5 to 11).
///
/// Differs from the authors' code, which is at odds with the paper: there the terms of the images of the
/// first version that the teacher is least sure of should count, but a mask is multiplied into what is a
/// mean already, which halves it; two of the second version's five temperatures are given the first
/// version's logits; and the products count for the first version only. There the second version is
/// changed by RandAugment; here it is another one that `augment` could have made. A step sees each image
/// twice: twice the passes of other objectives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mlkd {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the teacher.
    pub soft: f64,
    /// All T > 0.
    pub temperatures: Vec<f64>,
}

impl Default for Mlkd {
    fn default() -> Self {
        Self { hard: 0.1, soft: 0.9, temperatures: vec![2.0, 3.0, 4.0, 5.0, 6.0] }
    }
}

impl Loss for Mlkd {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        both_views(input, |view| {
            let (own, theirs) = (student(view)?, teacher(view)?);
            let levels = self.temperatures.iter().map(|t| level(&own, &theirs, *t));
            with_labels(view, self.hard, (sum(levels)? * self.soft)?)
        })
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn n_views(&self) -> usize {
        2
    }

    fn check(&self) -> Result<()> {
        if self.temperatures.is_empty() {
            return Err(Error::config("temperatures", "needs one at least"));
        }
        check(&[("hard", self.hard), ("soft", self.soft)], &self.temperatures)
    }
}

/// All of it at one temperature.
fn level(own: &Tensor, theirs: &Tensor, temperature: f64) -> Result<Tensor> {
    let at = |logits: &Tensor| log_softmax(&(logits / temperature)?);
    let (log_p, log_q) = (at(own)?, at(theirs)?);
    let of_images = (kl(&log_q, &log_p)?.mean_all()? * temperature.powi(2))?;
    let (p, q) = (log_p.exp()?, log_q.exp()?);
    let (by_class, theirs_by_class) = (p.t()?, q.t()?);
    let between_images = apart(&products(&p, &p)?, &products(&q, &q)?)?;
    let between_classes =
        apart(&products(&by_class, &by_class)?, &products(&theirs_by_class, &theirs_by_class)?)?;
    Ok(((of_images + between_images)? + between_classes)?)
}

/// `|a - b|^2 / n` of matrices of n rows.
fn apart(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(((a - b)?.to_dtype(DType::F64)?.sqr()?.sum_all()? / a.dim(D::Minus1)? as f64)?)
}

/// The sum of `one` of each of two versions of the images.
pub(super) fn both_views(
    input: &LossInput<'_>,
    one: impl Fn(&LossInput<'_>) -> Result<Tensor>,
) -> Result<Tensor> {
    let reason = "the objective looks at two versions of each image, and was given one";
    let other = input.views.first().ok_or_else(|| Error::config("views", reason))?;
    let teacher_logits = other.teacher_logits.as_ref();
    let second = LossInput { logits: &other.logits, teacher_logits, ..*input };
    Ok((one(input)? + one(&second)?)?)
}
