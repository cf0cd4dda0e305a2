//! A linear layer with its activation: `y = dropout(relu(x Wᵀ + b))`.

mod cpu;
mod op;

pub(crate) use cpu::{add_row_sums, add_to_rows, finish, undo};
pub use op::Linear;

use crate::Stream;

/// What follows the linear map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(0, y)`, with derivative 0 at 0, as in PyTorch.
    Relu,
    /// ReLU, then inverted dropout: each value is kept with probability `1 - p` and then divided
    /// by it. The mask is a function of the stream and the value's position.
    ReluDropout {
        /// Probability with which a value is dropped, in `[0, 1)`.
        p: f32,
        /// Where the mask comes from; another one for each step and layer.
        stream: Stream,
    },
}

impl Activation {
    /// What a value that passes is multiplied by.
    pub(crate) fn scale(self) -> f32 {
        match self {
            Self::ReluDropout { p, .. } => 1.0 / (1.0 - p),
            Self::Identity | Self::Relu => 1.0,
        }
    }
}
