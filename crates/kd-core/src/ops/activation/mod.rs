//! Functions that are applied value by value.

mod clip;
#[cfg(feature = "cuda")]
mod cuda;
mod gelu;
mod hard_sigmoid;
mod hard_swish;
mod leaky_relu;
mod map;
mod quantize;
mod relu;
mod sigmoid;
mod silu;

pub use clip::Clip;
pub use gelu::Gelu;
pub use hard_sigmoid::HardSigmoid;
pub use hard_swish::HardSwish;
pub use leaky_relu::LeakyRelu;
pub use quantize::Quantize;
pub use relu::Relu;
pub use sigmoid::Sigmoid;
pub use silu::Silu;

use crate::act::{Buffer, Clamp, Made};
use crate::ops::channels::{TASK, finish};
use crate::ops::step::Forward;
use crate::tasks::each;

/// The step's input, clamped; its backward finds the gradient clamped too.
fn clamped(step: &Forward<'_>, clamp: Clamp) -> Made {
    let mut values = Buffer::copy_of(step.input(0).values());
    each(values.chunks_mut(TASK), |values| finish(values, None, None, clamp));
    Made::after(values, clamp)
}
