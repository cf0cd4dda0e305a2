#![doc = include_str!("../README.md")]

#[expect(unreachable_pub, reason = "operations are implemented in this crate only")]
mod act;
mod argmax;
pub mod checkpoint;
pub mod collective;
mod contract;
#[cfg(feature = "cuda")]
mod cuda;
pub mod device;
mod domain;
mod error;
mod exec;
pub mod fsx;
mod gemm;
pub mod graph;
pub mod init;
mod interval;
pub mod json;
mod lease;
pub mod machine;
pub mod math;
mod mode;
pub mod nn;
mod norm;
pub mod ops;
mod param;
mod precision;
pub mod record;
mod registry;
pub mod rng;
mod scratch;
mod shards;
mod simd;
mod tasks;
pub mod testing;

pub use argmax::argmax;
pub use collective::{Collective, Single};
pub use contract::{Batch, BatchSource, Classifier, Perturb};
pub use domain::{at_least_one, below_one, in_range, not_negative, positive};
pub use error::{Error, Result};
pub use exec::{Net, Pass, Shared, Update, apply, share};
pub use graph::Graph;
pub use interval::wilson;
pub use lease::{Lease, Owner};
pub use mode::Mode;
pub use norm::Norm;
pub use param::{Grad, Param, Params};
pub use rng::Stream;
pub use shards::{Lane, Part, Sent, Shards, Traffic};
pub use simd::vectorized;

/// A file of golden values, made by an independent implementation (`tests/golden`).
#[cfg(test)]
fn golden(name: &str) -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/");
    let text = std::fs::read_to_string(format!("{path}{name}")).expect("golden file");
    serde_json::from_str(&text).expect("JSON")
}
