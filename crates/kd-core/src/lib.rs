//! The ground that every kd crate stands on: seeded randomness, parameters, fused operations with
//! proven gradients, optimizer steps, checkpoint files and the contracts between sibling crates.
//!
//! Key decision: everything public speaks candle tensors, so that it mixes with candle and
//! candle-nn code, while the hot path (linear layers, objectives, optimizer steps) is our own,
//! because candle's is slow on CPU or has no backward. Randomness is always an argument.
//!
//! What it deliberately does not do: no model, no data set, no training loop, no global state.

mod contract;
mod error;
pub mod fsx;
pub mod record;
mod param;
mod registry;
pub mod rng;

pub use contract::{Batch, BatchSource, Classifier, Mode, Perturb};
pub use error::{Error, Result};
pub use param::{Grad, Param, Params};
pub use rng::Stream;
