//! cuDNN's convolutions, whose plans are made once for each size.
//!
//! Key decision: of the algorithms that cuDNN's own estimate puts first, the first one is taken that
//! gives the same bits each time. Measuring them would choose differently from run to run.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::Arc;

use candle_core::CudaDevice;
use candle_core::cuda::WrapErr;
use candle_core::cuda::cudarc::cudnn::result::{self, CudnnError};
use candle_core::cuda::cudarc::cudnn::sys;
use candle_core::cuda::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::algorithm::{Algorithm, Choice, Direction, Shapes, algorithms};
use crate::gemm::Write;
use crate::ops::conv2d::geometry::Geometry;
use crate::precision::Precision;
use crate::{Error, Result};

/// cuDNN, its plans, and the memory that its algorithms work in.
pub(super) struct Convolutions {
    handle: sys::cudnnHandle_t,
    plans: BTreeMap<(Direction, Geometry), Plan>,
    workspace: Option<CudaSlice<u8>>,
}

#[expect(unsafe_code, reason = "a handle may go from thread to thread, but not be shared")]
// SAFETY: cuDNN asks that a handle is used by one thread at a time; it lies behind a mutex.
unsafe impl Send for Convolutions {}

/// A convolution's descriptors and the chosen algorithm.
#[derive(Clone, Copy)]
struct Plan {
    shapes: Shapes,
    algorithm: Algorithm,
    /// Bytes.
    workspace: usize,
}

fn refused(error: CudnnError) -> Error {
    Error::config("device", format!("cuDNN: {:?}", error.0))
}

impl Convolutions {
    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self> {
        stream.context().bind_to_thread().w()?;
        let handle = result::create_handle().map_err(refused)?;
        #[expect(unsafe_code, reason = "cuDNN is foreign code")]
        // SAFETY: the handle is new, and the stream lives as long as the program.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }.map_err(refused)?;
        Ok(Self { handle, plans: BTreeMap::new(), workspace: None })
    }

    /// Computes the convolution's member at the address that `direction` names from the two others, or
    /// adds to it.
    pub(super) fn run(
        &mut self,
        (direction, geometry, precision): (Direction, &Geometry, Precision),
        at: [u64; 3],
        device: &CudaDevice,
        write: Write,
    ) -> Result<()> {
        let plan = self.plan(direction, geometry, precision)?;
        let workspace = self.workspace(device, plan.workspace)?;
        plan.run(self.handle, at, workspace, write).map_err(refused)
    }

    fn plan(
        &mut self,
        direction: Direction,
        geometry: &Geometry,
        precision: Precision,
    ) -> Result<Plan> {
        if let Some(plan) = self.plans.get(&(direction, *geometry)) {
            return Ok(*plan);
        }
        let plan = Plan::new(self.handle, direction, geometry, precision)?;
        self.plans.insert((direction, *geometry), plan);
        Ok(plan)
    }

    /// The address of at least `len` bytes; every convolution uses the same, one after another.
    fn workspace(&mut self, device: &CudaDevice, len: usize) -> Result<u64> {
        if len == 0 {
            return Ok(0);
        }
        if self.workspace.as_ref().is_none_or(|old| old.num_bytes() < len) {
            #[expect(unsafe_code, reason = "memory that is not zeroed first")]
            // SAFETY: cuDNN writes to it before it reads.
            let new = unsafe { device.alloc::<u8>(len)? };
            self.workspace = Some(new);
        }
        Ok(self.workspace.as_ref().map_or(0, |slice| slice.device_ptr(&device.cuda_stream()).0))
    }
}

impl Plan {
    fn new(
        handle: sys::cudnnHandle_t,
        direction: Direction,
        geometry: &Geometry,
        precision: Precision,
    ) -> Result<Self> {
        let shapes = Shapes::new(geometry, precision).map_err(refused)?;
        let choices = algorithms(handle, direction, &shapes).map_err(refused)?;
        let suits = |choice: &&Choice| choice.suits(precision);
        let Some(choice) = choices.iter().find(suits) else {
            let reason = format!("cuDNN has no repeatable algorithm, {direction:?}: {geometry:?}");
            return Err(Error::config("device", reason));
        };
        if precision == Precision::Tf32 {
            shapes.set_math(choice.math).map_err(refused)?;
        }
        Ok(Self { shapes, algorithm: choice.algorithm, workspace: choice.workspace })
    }

    fn run(
        &self,
        handle: sys::cudnnHandle_t,
        [x, weight, y]: [u64; 3],
        workspace: u64,
        write: Write,
    ) -> std::result::Result<(), CudnnError> {
        let (one, old) = (1.0f32, if matches!(write, Write::Add) { 1.0f32 } else { 0.0 });
        let (one, old) = ((&raw const one).cast::<c_void>(), (&raw const old).cast::<c_void>());
        let [px, pw, py, work] = [x, weight, y, workspace].map(|at| at as *mut c_void);
        let Shapes { x, weight: w, y, conv } = self.shapes;
        let len = self.workspace;
        #[expect(unsafe_code, reason = "cuDNN is foreign code")]
        // SAFETY: the descriptors are set and never destroyed; the addresses are those of tensors
        // of the described sizes, and of a workspace of `len` bytes.
        unsafe {
            match self.algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle, one, x, px, w, pw, conv, algorithm, work, len, old, y, py,
                ),
                Algorithm::ToInput(algorithm) => result::convolution_backward_data(
                    handle, one, w, pw, y, py, conv, algorithm, work, len, old, x, px,
                ),
                Algorithm::ToWeight(algorithm) => result::convolution_backward_filter(
                    handle, one, x, px, y, py, conv, algorithm, work, len, old, w, pw,
                ),
            }
        }
    }
}
