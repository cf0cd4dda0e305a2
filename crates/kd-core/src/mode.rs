//! Whether a network is being trained.

use crate::Stream;

/// Whether a network is being trained.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Deterministic: no dropout.
    Eval,
    /// Dropout drawn from this stream, which must differ from step to step.
    Train(Stream),
}
