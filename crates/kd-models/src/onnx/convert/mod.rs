//! From operators of ONNX to operations of a graph: one file per family.

pub(super) mod activation;
pub(super) mod arithmetic;
pub(super) mod builder;
pub(super) mod conv;
pub(super) mod linear;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod shape;
