//! Layers: parameters with the operation that they belong to.

mod conv;
mod linear;
mod norm;

pub use conv::{Conv2d, ConvInit, ConvSpec};
pub use linear::Linear;
pub use norm::{BatchNorm2d, ConvNorm};

#[cfg(test)]
mod tests;
