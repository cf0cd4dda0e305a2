//! Inverted dropout: `y = x * mask / (1 - p)`.
//!
//! The mask is a function of the stream and the value's position, so the backward draws it again
//! instead of keeping it. Of each 32-bit random word, 16 bits are used: `p` is rounded to a multiple
//! of 2^-16.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod op;

pub use op::Dropout;
