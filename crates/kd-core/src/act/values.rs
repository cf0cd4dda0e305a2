//! The values of an activation or a gradient, in CPU memory or on a GPU.

use candle_core::{Device, Tensor};

use super::Buffer;
use crate::ops::{channels, slices};
use crate::{Error, Result};

/// f32 values, row-major.
#[derive(Debug)]
pub enum Values {
    /// In CPU memory.
    Host(Buffer),
    /// On a GPU: contiguous and not tracked; whose shape it is in is for the activation to say.
    Gpu(Tensor),
}

impl From<Buffer> for Values {
    fn from(values: Buffer) -> Self {
        Self::Host(values)
    }
}

impl From<Tensor> for Values {
    fn from(values: Tensor) -> Self {
        Self::Gpu(values)
    }
}

impl Values {
    /// Those of `tensor`; on a GPU its memory is shared.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.contiguous()?;
        if tensor.device().is_cuda() {
            return Ok(Self::Gpu(tensor.detach()));
        }
        Ok(Self::Host(slices::with(&tensor, |x| Ok(Buffer::copy_of(x)))?))
    }

    /// A copy of those of `tensor`.
    pub(crate) fn copy_of(tensor: &Tensor) -> Result<Self> {
        match Self::of(tensor)? {
            Self::Gpu(shared) => Ok(Self::Gpu(shared.copy()?)),
            copied => Ok(copied),
        }
    }

    /// A copy.
    pub(crate) fn copy(&self) -> Result<Self> {
        match self {
            Self::Host(values) => Ok(Self::Host(Buffer::copy_of(values))),
            Self::Gpu(values) => Ok(Self::Gpu(values.copy()?)),
        }
    }

    /// `self += other`.
    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        match (self, other) {
            (Self::Host(sum), Self::Host(values)) => channels::add(sum, values),
            (Self::Gpu(sum), Self::Gpu(values)) => {
                *sum = (&*sum + values.reshape(sum.shape())?)?;
            }
            _ => return Err(elsewhere()),
        }
        Ok(())
    }

    /// Those in CPU memory.
    ///
    /// # Errors
    /// [`Error::Config`] on a GPU.
    pub(crate) fn host(self) -> Result<Buffer> {
        match self {
            Self::Host(values) => Ok(values),
            Self::Gpu(_) => Err(elsewhere()),
        }
    }

    /// Those on a GPU.
    ///
    /// # Errors
    /// [`Error::Config`] in CPU memory.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Result<&Tensor> {
        match self {
            Self::Gpu(values) => Ok(values),
            Self::Host(_) => Err(elsewhere()),
        }
    }

    /// Those on a GPU.
    ///
    /// # Errors
    /// [`Error::Config`] in CPU memory.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_gpu(self) -> Result<Tensor> {
        match self {
            Self::Gpu(values) => Ok(values),
            Self::Host(_) => Err(elsewhere()),
        }
    }

    /// As a tensor whose memory does not return to the pool.
    pub(crate) fn into_tensor(self, dims: &[usize]) -> Result<Tensor> {
        match self {
            Self::Host(values) => Ok(Tensor::from_vec(values.into_vec(), dims, &Device::Cpu)?),
            Self::Gpu(values) => Ok(values.reshape(dims)?),
        }
    }
}

fn elsewhere() -> Error {
    Error::config("device", "a step of a network has values in CPU memory and on a GPU")
}
