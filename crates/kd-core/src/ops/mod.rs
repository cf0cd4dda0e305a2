//! Fused operations on candle tensors, each with a proven backward.
//!
//! One operation, one folder: `mod.rs` has the public function, its equation and the candle custom
//! operation; `cpu.rs` the arithmetic on slices, dispatched at run time to AVX-512, AVX2 or scalar
//! code. Gradients of untracked arguments are never computed.

mod dropout;
mod linear;
mod objective;
mod optimizer;
mod slices;

pub use dropout::dropout;
pub use linear::{Activation, linear, linear_into};
pub use objective::{Reduction, SoftTargets, check_soft, cross_entropy, distillation};
pub use optimizer::{Adam, AdamState, Sgd, SgdState};
