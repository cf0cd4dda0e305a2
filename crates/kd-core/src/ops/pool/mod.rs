//! Pooling over windows of pixels, channel by channel.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod op;

pub use op::{AvgPool, GlobalAvgPool, MaxPool};
