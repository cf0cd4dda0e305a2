//! A GPU with its compiled kernels and its handles.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::cuda::cudarc::cublas::CudaBlas;
use candle_core::cuda::cudarc::driver::{
    CudaFunction, CudaModule, CudaSlice, CudaStream, result, sys,
};
use candle_core::cuda::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda::{DeviceId, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Device, Shape, Storage, Tensor};
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::conv::Convolutions;
use crate::precision::Precision;
use crate::{Error, Result};

/// The kernels of all operations, compiled as one program.
const SOURCE: &str = concat!(
    include_str!("prelude.cu"),
    include_str!("../ops/channels/cuda.cu"),
    include_str!("../ops/batch_norm/cuda.cu"),
    include_str!("../ops/pool/cuda.cu"),
    include_str!("../ops/subsample_pad/cuda.cu"),
    include_str!("../ops/layout/cuda.cu"),
    include_str!("../ops/dropout/cuda.cu"),
    include_str!("../ops/objective/cuda.cu"),
    include_str!("../ops/optimizer/cuda.cu"),
    include_str!("../ops/crop/cuda.cu"),
);

/// A GPU that candle has opened, and what we keep for it as long as the program runs.
pub(crate) struct Gpu {
    pub(super) device: CudaDevice,
    pub(super) stream: Arc<CudaStream>,
    pub(super) precision: Precision,
    module: Arc<CudaModule>,
    functions: Mutex<BTreeMap<&'static str, CudaFunction>>,
    convolutions: Mutex<Convolutions>,
    products: Mutex<Arc<CudaBlas>>,
}

/// The GPUs in use, by candle's number of the opened device.
static GPUS: RwLock<Vec<(DeviceId, Arc<Gpu>)>> = RwLock::new(Vec::new());

/// Opens GPU number `ordinal` for computation in `precision`.
///
/// # Errors
/// When the driver or a library refuses; nothing is opened then.
pub(crate) fn open(ordinal: usize, precision: Precision) -> Result<Device> {
    let device = Device::new_cuda_with_stream(ordinal)?;
    let cuda = device.as_cuda_device()?;
    #[expect(unsafe_code, reason = "the driver's settings are foreign functions")]
    // SAFETY: there is one stream, so nothing waits for another; the pool is the device's own, and
    // the attribute is read as the 64-bit number that it is.
    unsafe {
        cuda.disable_event_tracking();
        let stream = cuda.cuda_stream();
        let pool = result::device::get_default_mem_pool(stream.context().cu_device()).w()?;
        let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        let mut all = u64::MAX;
        result::mem_pool::set_attribute(pool, threshold, (&raw mut all).cast()).w()?;
    }
    remember(cuda, precision)?;
    Ok(device)
}

fn remember(device: &CudaDevice, precision: Precision) -> Result<Arc<Gpu>> {
    let mut gpus = GPUS.write();
    if let Some((_, gpu)) = gpus.iter().find(|(id, _)| *id == device.id()) {
        return Ok(gpu.clone());
    }
    let gpu = Arc::new(Gpu::new(device, precision)?);
    gpus.push((device.id(), gpu.clone()));
    Ok(gpu)
}

impl Gpu {
    fn new(device: &CudaDevice, precision: Precision) -> Result<Self> {
        let stream = device.cuda_stream();
        let (major, minor) = stream.context().compute_capability().w()?;
        let options = vec![format!("--gpu-architecture=compute_{major}{minor}")];
        let options = CompileOptions { options, ..CompileOptions::default() };
        let ptx = compile_ptx_with_opts(SOURCE, options).w()?;
        Ok(Self {
            module: stream.context().load_module(ptx).w()?,
            functions: Mutex::default(),
            convolutions: Mutex::new(Convolutions::new(&stream)?),
            products: Mutex::new(device.cublas_handle()),
            device: device.clone(),
            stream,
            precision,
        })
    }

    /// The GPU that holds `tensor`.
    pub(crate) fn of(tensor: &Tensor) -> Result<Arc<Self>> {
        Self::on(tensor.device())
    }

    /// The GPU that candle calls `device`.
    pub(crate) fn on(device: &Device) -> Result<Arc<Self>> {
        let cuda = device.as_cuda_device()?;
        let gpus = GPUS.read();
        if let Some((_, gpu)) = gpus.iter().find(|(id, _)| *id == cuda.id()) {
            return Ok(gpu.clone());
        }
        drop(gpus);
        remember(cuda, Precision::F32)
    }

    /// The kernel `name`.
    pub(super) fn function(&self, name: &'static str) -> Result<CudaFunction> {
        let mut functions = self.functions.lock();
        if let Some(function) = functions.get(name) {
            return Ok(function.clone());
        }
        let function = self.module.load_function(name).w()?;
        functions.insert(name, function.clone());
        Ok(function)
    }

    /// cuDNN, which one thread uses at a time.
    pub(super) fn convolutions(&self) -> MutexGuard<'_, Convolutions> {
        self.convolutions.lock()
    }

    /// cuBLAS, which one thread uses at a time: a product of several kernels must not be mixed with
    /// another, since they share memory.
    pub(super) fn products(&self) -> MutexGuard<'_, Arc<CudaBlas>> {
        self.products.lock()
    }

    /// f32 values that are not written yet.
    pub(crate) fn empty(&self, dims: &[usize]) -> Result<Tensor> {
        #[expect(unsafe_code, reason = "memory that is not zeroed first")]
        // SAFETY: any bits are a number, and who asks for the tensor writes all of it.
        let values = unsafe { self.device.alloc::<f32>(dims.iter().product())? };
        Ok(self.tensor(CudaStorage::wrap_cuda_slice(values, self.device.clone()), dims))
    }

    /// Bytes that are not written yet.
    pub(crate) fn empty_bytes(&self, len: usize) -> Result<Tensor> {
        #[expect(unsafe_code, reason = "memory that is not zeroed first")]
        // SAFETY: as for `empty`.
        let bytes = unsafe { self.device.alloc::<u8>(len)? };
        Ok(self.tensor(CudaStorage::wrap_cuda_slice(bytes, self.device.clone()), &[len]))
    }

    /// A copy of `words` on the GPU.
    pub(crate) fn upload(&self, words: &[u64]) -> Result<CudaSlice<u64>> {
        Ok(self.device.clone_htod(words)?)
    }

    fn tensor(&self, storage: CudaStorage, dims: &[usize]) -> Tensor {
        let shape = Shape::from_dims(dims);
        Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
    }
}

/// The GPU's own name, and how exactly it multiplies.
pub(crate) fn name(device: &Device) -> Result<String> {
    let gpu = Gpu::on(device)?;
    let exactness = match gpu.precision {
        Precision::F32 => "f32",
        Precision::Tf32 => "tf32",
    };
    Ok(format!("{}, {exactness}", gpu.stream.context().name().w()?))
}

/// A copy of the values of `tensor`, which must be on a GPU, for candle's operations.
pub(crate) fn storage_copy(tensor: &Tensor) -> Result<CudaStorage> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => {
            #[expect(unsafe_code, reason = "memory that is not zeroed first")]
            // SAFETY: all of it is written next.
            let mut copy =
                unsafe { storage.device().alloc_uninit(layout.shape(), storage.dtype())? };
            storage.copy_strided_src(&mut copy, 0, layout)?;
            Ok(copy)
        }
        _ => Err(Error::config("device", "the values are not on a GPU")),
    }
}
