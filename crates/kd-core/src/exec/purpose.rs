//! What a network runs for.

use crate::Mode;

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// Forward and backward in training.
    Train,
    /// Forward and backward in evaluation: for the gradient of the images.
    Gradient,
    /// Forward only.
    Evaluate,
}

impl Purpose {
    /// What a run in `mode` is for, where something that it reads is tracked or not.
    pub(super) fn of(mode: Mode, tracked: bool) -> Self {
        match mode {
            Mode::Train(_) => Self::Train,
            Mode::Eval if tracked => Self::Gradient,
            Mode::Eval => Self::Evaluate,
        }
    }
}
