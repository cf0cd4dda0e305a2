//! Fused operations on candle tensors, each with a proven backward.
//!
//! One operation, one folder: `mod.rs` has the public function, its equation and the candle custom
//! operation; `cpu.rs` the arithmetic on slices, dispatched at run time to AVX-512, AVX2 or scalar
//! code. Gradients of untracked arguments are never computed.

pub(crate) mod batch_norm;
pub(crate) mod channels;
pub(crate) mod conv2d;
pub mod crop;
pub(crate) mod deposit;
mod dropout;
pub(crate) mod layout;
mod linear;
mod objective;
mod optimizer;
mod pool;
mod relu;
pub(crate) mod slices;
pub(crate) mod source;

pub use batch_norm::{BatchStats, batch_norm};
pub use conv2d::{Conv, conv2d};
pub use dropout::dropout;
#[cfg(feature = "cuda")]
pub(crate) use dropout::mask as dropout_mask;
pub use layout::{nchw, nhwc};
pub use linear::{Activation, linear, linear_into};
pub use objective::{
    Count, Counted, Reduction, SoftTargets, check_soft, check_temperature, cross_entropy,
    cross_entropy_at, distillation,
};
pub use optimizer::{Adam, AdamState, Moments, Sgd, SgdState};
pub use pool::{Pool, avg_pool2d, global_avg_pool, max_pool2d};
pub use relu::relu;

#[cfg(test)]
mod cuda_tests;
#[cfg(test)]
mod golden_tests;
