//! What the operations need of an NVIDIA GPU: kernels, matrix products, convolutions.
//!
//! Key decision: values on a GPU are candle tensors, and everything runs on one stream of the
//! device, in the order in which it was asked for, whichever thread asks. So memory may be used
//! again as soon as a tensor is dropped, and results are the same bits each time. Our own kernels
//! lie in `.cu` files beside their CPU twins; NVRTC compiles them when the first is called.
//!
//! What it deliberately does not do: no second stream, no second GPU.

mod algorithm;
mod conv;
mod gemm;
mod gpu;
mod known;
mod launch;

pub(crate) use conv::{Direction, Trio, convolution};
pub(crate) use gemm::{Operand, gemm};
pub(crate) use gpu::{Gpu, name, open, storage_copy};
pub(crate) use known::known;
pub(crate) use launch::{Arg, Grid, THREADS, address, pointer};

use candle_core::Tensor;

use crate::Result;

/// A tensor of the same shape whose values are not written yet.
pub(crate) fn empty_like(x: &Tensor) -> Result<Tensor> {
    Gpu::of(x)?.empty(x.dims())
}
