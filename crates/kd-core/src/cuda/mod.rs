//! What the operations need of an NVIDIA GPU: kernels, matrix products, convolutions.
//!
//! Key decision: values on a GPU are candle tensors, and everything runs on one stream of the
//! device, in the order in which it was asked for, whichever thread asks. So memory may be used
//! again as soon as a tensor is dropped, and results are the same bits each time. Our own kernels
//! lie in `.cu` files beside their CPU twins; NVRTC compiles them when the first is called.
//!
//! What has been proven: on an H100 and an H200, an earlier engine that launched these kernels gave
//! every operation and its gradient within 1e-5 of the CPU's, the same bits each time, without bad
//! memory accesses. What launches them now (`exec/blocks/cuda.rs`, `ops/*/cuda.rs`) has been compiled
//! but not run on a GPU; so have strides and margins of max-pooling that differ between rows and
//! columns, and dilated convolutions. `ops/cuda_tests.rs` compares all of it with the CPU.
//!
//! What it deliberately does not do: no second stream, no second GPU.

mod algorithm;
mod conv;
mod convolution;
mod gemm;
mod gpu;
mod known;
mod launch;

pub(crate) use algorithm::Direction;
pub(crate) use convolution::{Trio, convolution};
pub(crate) use gemm::{Operand, gemm};
pub(crate) use gpu::{Gpu, name, open, storage_copy};
pub(crate) use known::known;
pub(crate) use launch::{Arg, Grid, THREADS, address, each, pointer};

use candle_core::Tensor;

use crate::Result;

/// A tensor of the same shape whose values are not written yet.
pub(crate) fn empty_like(x: &Tensor) -> Result<Tensor> {
    Gpu::of(x)?.empty(x.dims())
}
