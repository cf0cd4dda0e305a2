//! Functions that are applied value by value.

mod clip;
mod gelu;
mod hard_sigmoid;
mod hard_swish;
mod leaky_relu;
mod map;
mod relu;
mod sigmoid;
mod silu;

pub use clip::Clip;
pub use gelu::Gelu;
pub use hard_sigmoid::HardSigmoid;
pub use hard_swish::HardSwish;
pub use leaky_relu::LeakyRelu;
pub use relu::Relu;
pub use sigmoid::Sigmoid;
pub use silu::Silu;
