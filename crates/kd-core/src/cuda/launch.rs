//! Launching our kernels.

use candle_core::cuda::CudaDType;
use candle_core::cuda::WrapErr;
use candle_core::cuda::cudarc::driver::{
    CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg,
};
use candle_core::{DType, Layout, Storage, Tensor};

use super::Gpu;
use crate::{Error, Result};

/// An argument of a kernel.
#[derive(Debug, Clone)]
pub(crate) enum Arg {
    /// An address in the GPU's memory; 0 for none.
    Pointer(u64),
    /// A number of 32 bits.
    Word(u32),
    /// A struct of numbers of 32 bits.
    Words(Vec<u32>),
}

impl Arg {
    /// No values.
    pub(crate) const NONE: Self = Self::Pointer(0);

    /// The values of `tensor`, if there is one.
    pub(crate) fn optional(tensor: Option<&Tensor>) -> Result<Self> {
        tensor.map_or(Ok(Self::NONE), pointer)
    }

    /// Memory that holds no tensor.
    pub(crate) fn slice(gpu: &Gpu, slice: &CudaSlice<u64>) -> Self {
        Self::Pointer(slice.device_ptr(&gpu.stream).0)
    }

    /// A struct of floats.
    pub(crate) fn floats(values: &[f32]) -> Self {
        Self::Words(values.iter().map(|value| value.to_bits()).collect())
    }
}

impl From<usize> for Arg {
    /// Sizes are checked where tensors are made: see [`Grid::over`].
    fn from(number: usize) -> Self {
        Self::Word(number as u32)
    }
}

impl From<u32> for Arg {
    fn from(number: u32) -> Self {
        Self::Word(number)
    }
}

impl From<bool> for Arg {
    fn from(flag: bool) -> Self {
        Self::Word(flag.into())
    }
}

impl From<f32> for Arg {
    fn from(number: f32) -> Self {
        Self::Word(number.to_bits())
    }
}

/// Where the values of `tensor` lie, which must be contiguous and on a GPU.
pub(crate) fn pointer(tensor: &Tensor) -> Result<Arg> {
    address(tensor).map(Arg::Pointer)
}

/// The address of the first value of `tensor`.
pub(crate) fn address(tensor: &Tensor) -> Result<u64> {
    let gpu = Gpu::of(tensor)?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        return Err(Error::config("device", "the values are not on a GPU"));
    };
    match tensor.dtype() {
        DType::F32 => first(storage.as_cuda_slice::<f32>()?, layout, &gpu.stream),
        DType::U32 => first(storage.as_cuda_slice::<u32>()?, layout, &gpu.stream),
        DType::U8 => first(storage.as_cuda_slice::<u8>()?, layout, &gpu.stream),
        DType::F64 => first(storage.as_cuda_slice::<f64>()?, layout, &gpu.stream),
        dtype => Err(Error::config("dtype", format!("no kernel works on {dtype:?}"))),
    }
}

fn first<T: CudaDType + DeviceRepr>(
    slice: &CudaSlice<T>,
    layout: &Layout,
    stream: &CudaStream,
) -> Result<u64> {
    let Some((start, _)) = layout.contiguous_offsets() else {
        return Err(Error::shape("tensor", "contiguous", layout.dims()));
    };
    Ok(slice.device_ptr(stream).0 + (start * size_of::<T>()) as u64)
}

/// The threads of a launch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    blocks: [u32; 2],
    threads: [u32; 2],
    shared_bytes: u32,
}

/// Threads of a block, as `THREADS` in the kernels.
pub(crate) const THREADS: usize = 256;

impl Grid {
    /// A thread for each of `n` values.
    ///
    /// # Errors
    /// [`Error::Config`] for 2^31 values or more.
    pub(crate) fn over(n: usize) -> Result<Self> {
        if n >= 1 << 31 {
            return Err(Error::config("batch_size", format!("{n} values at once are too many")));
        }
        Ok(Self::blocks(n.div_ceil(THREADS), 1))
    }

    /// So many blocks of the usual size.
    pub(crate) fn blocks(x: usize, y: usize) -> Self {
        Self { blocks: [x as u32, y as u32], threads: [THREADS as u32, 1], shared_bytes: 0 }
    }

    /// Blocks of 32 x 32 threads, 32 of `n_channels` channels each.
    pub(crate) fn channels(n_channels: usize) -> Self {
        let blocks = [n_channels.div_ceil(32) as u32, 1];
        Self { blocks, threads: [32, 32], shared_bytes: 0 }
    }

    /// The same with memory that the threads of a block share.
    pub(crate) fn sharing(self, bytes: usize) -> Self {
        Self { shared_bytes: bytes as u32, ..self }
    }
}

/// Runs the kernel `name` with a thread for each value of the last of `tensors`: it takes these, then
/// `numbers` and then how many values there are.
pub(crate) fn each(name: &'static str, tensors: &[&Tensor], numbers: &[Arg]) -> Result<()> {
    let Some(last) = tensors.last() else { return Ok(()) };
    let n = last.elem_count();
    let mut args = tensors.iter().map(|tensor| pointer(tensor)).collect::<Result<Vec<_>>>()?;
    args.extend_from_slice(numbers);
    args.push(n.into());
    Gpu::of(last)?.launch(name, Grid::over(n)?, &args)
}

impl Gpu {
    /// Runs the kernel `name` when all that was asked for before is done; nothing waits here. A
    /// launch without threads is none.
    pub(crate) fn launch(&self, name: &'static str, grid: Grid, args: &[Arg]) -> Result<()> {
        let Grid { blocks: [x, y], threads, shared_bytes } = grid;
        if x * y == 0 {
            return Ok(());
        }
        let config = LaunchConfig {
            grid_dim: (x, y, 1),
            block_dim: (threads[0], threads[1], 1),
            shared_mem_bytes: shared_bytes,
        };
        let function = self.function(name)?;
        let mut launch = self.stream.launch_builder(&function);
        for arg in args {
            match arg {
                Arg::Pointer(address) => launch.arg(address),
                Arg::Word(word) => launch.arg(word),
                // The driver copies as many bytes as the kernel's parameter has.
                Arg::Words(words) => launch.arg(&words[0]),
            };
        }
        #[expect(unsafe_code, reason = "kernels are foreign code")]
        // SAFETY: callers pass what the kernel of this name takes, in its order, and addresses of
        // tensors that are as large as it reads and writes; the tests run each kernel under
        // compute-sanitizer. Memory is returned on the same stream, after this launch.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }
}
