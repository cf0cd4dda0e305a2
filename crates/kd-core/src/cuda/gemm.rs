//! Matrix products by cuBLAS.

use candle_core::Tensor;
use candle_core::cuda::WrapErr;
use candle_core::cuda::cudarc::cublas::result::gemm_ex;
use candle_core::cuda::cudarc::cublas::sys::{
    cublasComputeType_t, cublasGemmAlgo_t, cublasOperation_t, cudaDataType,
};

use super::Gpu;
use super::launch::address;
use crate::Result;
use crate::gemm::Write;
use crate::precision::Precision;

/// A row-major matrix, or its transpose.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'t> {
    /// As it lies in memory.
    Plain(&'t Tensor),
    /// Rows and columns exchanged.
    Transposed(&'t Tensor),
}

impl Operand<'_> {
    fn tensor(&self) -> &Tensor {
        match self {
            Self::Plain(tensor) | Self::Transposed(tensor) => tensor,
        }
    }

    fn operation(&self) -> cublasOperation_t {
        match self {
            Self::Plain(_) => cublasOperation_t::CUBLAS_OP_N,
            Self::Transposed(_) => cublasOperation_t::CUBLAS_OP_T,
        }
    }
}

/// `c = a b` or `c += a b`; `c` is `(M, N)` and `a` has K columns.
pub(crate) fn gemm(c: &Tensor, a: Operand<'_>, b: Operand<'_>, write: Write) -> Result<()> {
    let gpu = Gpu::of(c)?;
    let (m, n) = c.dims2()?;
    let k = a.tensor().elem_count() / m.max(1);
    if m * n * k == 0 {
        return Ok(());
    }
    let compute = match gpu.precision {
        Precision::F32 => cublasComputeType_t::CUBLAS_COMPUTE_32F,
        Precision::Tf32 => cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
    };
    let (one, old) = (1.0f32, if matches!(write, Write::Add) { 1.0f32 } else { 0.0 });
    let [a_at, b_at, c_at] = [address(a.tensor())?, address(b.tensor())?, address(c)?];
    let width = |operand: &Operand<'_>| operand.tensor().dims()[1] as i32;
    let (kind, algorithm) = (cudaDataType::CUDA_R_32F, cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT);
    let blas = gpu.products();
    gpu.stream.context().bind_to_thread().w()?;
    #[expect(unsafe_code, reason = "cuBLAS is foreign code")]
    // SAFETY: cuBLAS takes columns where we have rows: it computes the transposed product, b before
    // a. Sizes and row lengths are those of the tensors.
    unsafe {
        gemm_ex(
            *blas.handle(),
            b.operation(),
            a.operation(),
            n as i32,
            m as i32,
            k as i32,
            (&raw const one).cast(),
            b_at as *const _,
            kind,
            width(&b),
            a_at as *const _,
            kind,
            width(&a),
            (&raw const old).cast(),
            c_at as *mut _,
            kind,
            n as i32,
            compute,
            algorithm,
        )
    }
    .w()?;
    Ok(())
}
