//! Swapped logits.

use candle_core::{D, DType, Tensor};
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::mlkd::both_views;
use super::rows::{at, check, kl, log_softmax, one_hot, student, sum, teacher, with_labels};
use super::{Loss, LossInput};

/// `hard CE + soft sum over T T^2 (KL(swap(t) || s) + KL(swap(s) || s))`, the sum of it over two versions of the
/// images: swap exchanges the logit of the label with the largest one of the row; after epoch `own_after`
/// the student's own swapped logits teach as well (Ekaputra et al. 2025, arXiv:2504.20108, eq. 4 to 9).
///
/// In the authors' code the gradient flows through the student as its own teacher as well; here, as in the
/// paper, a teacher is a constant. A step sees each image twice; the second version is another one that
/// `augment` could have made (theirs: RandAugment).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sld {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the teachers.
    pub soft: f64,
    /// All T > 0.
    pub temperatures: Vec<f64>,
    /// The last epoch, counted from 0, in which the student does not teach itself.
    pub own_after: u64,
}

impl Default for Sld {
    fn default() -> Self {
        let temperatures = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        Self { hard: 0.1, soft: 0.9, temperatures, own_after: 150 }
    }
}

impl Loss for Sld {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let label = one_hot(input.labels, input.logits)?;
        both_views(input, |view| {
            let own = student(view)?;
            let mut teachers = vec![swapped(&teacher(view)?, &label)?];
            if input.epoch > self.own_after {
                teachers.push(swapped(&own.detach(), &label)?);
            }
            let pairs =
                teachers.iter().flat_map(|t| self.temperatures.iter().map(move |at| (t, *at)));
            let terms = pairs.map(|(theirs, temperature)| soft(&own, theirs, temperature));
            with_labels(view, self.hard, (sum(terms)? * self.soft)?)
        })
    }

    fn needs_teacher(&self) -> bool {
        true
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

/// `T^2 KL(theirs || own)` at T, the mean over the images.
fn soft(own: &Tensor, theirs: &Tensor, temperature: f64) -> Result<Tensor> {
    let at = |logits: &Tensor| log_softmax(&(logits / temperature)?);
    Ok((kl(&at(theirs)?, &at(own)?)?.mean_all()? * temperature.powi(2))?)
}

/// Rows in which the label, 1 in `label`, has the largest logit and the class that had it the label's.
fn swapped(logits: &Tensor, label: &Tensor) -> Result<Tensor> {
    let n_classes = logits.dim(D::Minus1)?;
    let largest = logits.argmax(D::Minus1)?;
    let largest = one_hot(&largest, logits)?.reshape(((), n_classes))?;
    let difference = (at(logits, &largest)? - at(logits, label)?)?;
    let moved = (label - largest)?.broadcast_mul(&difference)?;
    Ok((logits + moved)?.to_dtype(DType::F64)?)
}
