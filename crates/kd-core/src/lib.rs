//! The ground that every kd crate stands on: seeded randomness, parameters, fused operations with
//! proven gradients, optimizer steps, checkpoint files and the contracts between sibling crates.
//!
//! Key decision: everything public speaks candle tensors, so that it mixes with candle and
//! candle-nn code, while the hot path (linear layers, objectives, optimizer steps) is our own,
//! because candle's is slow on CPU or has no backward. Randomness is always an argument.
//!
//! What it deliberately does not do: no model, no data set, no training loop, no global
//! state but a pool of memory and, for each GPU in use, its compiled kernels.

#[expect(unreachable_pub, reason = "operations are implemented in this crate only")]
mod act;
mod argmax;
pub mod checkpoint;
mod contract;
#[cfg(feature = "cuda")]
mod cuda;
pub mod device;
mod error;
mod exec;
pub mod fsx;
mod gemm;
pub mod graph;
pub mod init;
mod interval;
mod math;
pub mod nn;
pub mod ops;
mod param;
pub mod record;
mod registry;
pub mod rng;
mod simd;
pub mod testing;

pub use argmax::argmax;
pub use contract::{Batch, BatchSource, Classifier, Mode, Perturb};
pub use error::{Error, Result, in_range};
pub use exec::{Net, apply};
pub use graph::Graph;
pub use interval::wilson;
pub use param::{Grad, Param, Params};
pub use rng::Stream;

/// A file of golden values, made by an independent implementation (`tests/golden`).
#[cfg(test)]
fn golden(name: &str) -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/");
    let text = std::fs::read_to_string(format!("{path}{name}")).expect("golden file");
    serde_json::from_str(&text).expect("JSON")
}
