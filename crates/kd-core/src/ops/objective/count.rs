//! What a network makes of its batches, counted where its logits are.

use candle_core::{DType, Device, Tensor};

use crate::Result;

/// Sums over batches on a GPU: they are read when they are wanted, so that no step waits.
#[derive(Debug)]
pub struct Count(Tensor);

/// What a [`Count`] has counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// Sum of the losses.
    pub loss: f64,
    /// Rows whose label is the largest logit; among equals the smaller class.
    pub top1: f64,
    /// Rows whose label is among the five largest.
    pub top5: f64,
}

impl Count {
    /// Before the first batch.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Self(Tensor::zeros(3, DType::F64, device)?))
    }

    /// Counts a batch: its loss, `()`, its logits, `(N, K)`, and its labels, `(N,)` u32.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when they are not on a GPU.
    pub fn add(&self, loss: &Tensor, logits: &Tensor, labels: &Tensor) -> Result<()> {
        #[cfg(feature = "cuda")]
        return super::cuda::count(loss, logits, &labels.to_device(logits.device())?, &self.0);
        #[cfg(not(feature = "cuda"))]
        {
            let _ = (loss, logits, labels);
            Err(crate::Error::config("device", "this program was built without CUDA"))
        }
    }

    /// The sums so far; waits for the GPU.
    ///
    /// # Errors
    /// When the GPU cannot be read.
    pub fn read(&self) -> Result<Counted> {
        let sums = self.0.to_vec1::<f64>()?;
        Ok(Counted { loss: sums[0], top1: sums[1], top5: sums[2] })
    }
}
