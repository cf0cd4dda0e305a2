//! Objectives of training, by name.

mod distill;
mod label_smoothing;
mod labels;

use candle_core::Tensor;
use kd_core::{Error, Result, registry};

/// What an objective may look at.
#[derive(Debug, Clone, Copy)]
pub struct LossInput<'a> {
    /// The student's logits, `(N, K)`.
    pub logits: &'a Tensor,
    /// The teacher's logits on the same images, `(N, K)`, if there is a teacher.
    pub teacher_logits: Option<&'a Tensor>,
    /// `(N,)` u32.
    pub labels: &'a Tensor,
}

/// An objective: the mean over the batch, in nats.
pub trait Loss {
    /// The loss, a scalar; its gradient flows to the student's logits.
    ///
    /// # Errors
    /// [`Error::Config`] when a teacher is needed and there is none; shapes that do not fit.
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor>;

    /// Whether the teacher's logits are needed.
    fn needs_teacher(&self) -> bool {
        false
    }

    /// Refuses settings outside their domain.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    fn check(&self) -> Result<()>;
}

registry! {
    /// An objective, chosen by `kind` in a suite file.
    pub enum LossSpec: dyn Loss {
        "labels" => Labels(labels::Labels),
        "label-smoothing" => LabelSmoothing(label_smoothing::LabelSmoothing),
        "distill" => Distill(distill::Distill),
    }
}

pub use distill::Distill;
pub use label_smoothing::LabelSmoothing;
pub use labels::Labels;

fn teacher<'a>(input: &LossInput<'a>) -> Result<&'a Tensor> {
    input.teacher_logits.ok_or_else(|| Error::config("teacher", "this objective needs one"))
}
