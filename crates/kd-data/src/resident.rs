//! Batches on a GPU.
//!
//! Key decision: images in memory go there once, as bytes; a batch then sends no more than where
//! its windows lie, and has the same bits as on the CPU. What has to be decoded or interpolated is
//! assembled on the CPU and sent as it is.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use kd_core::ops::crop::{Window, crop};
use kd_core::{Batch, BatchSource, Result};

use crate::Images;

/// The bytes of all images, on a GPU.
#[derive(Debug, Clone)]
pub(crate) struct Resident {
    pixels: Tensor,
}

impl Resident {
    pub(crate) fn new(images: &Images, device: &Device) -> Result<Self> {
        let [channels, height, width] = images.shape();
        let shape = (images.len(), channels, height, width);
        Ok(Self { pixels: Tensor::from_slice(images.pixels(), shape, device)? })
    }

    /// The images that `windows` show, with their labels.
    pub(crate) fn batch(&self, windows: &[Window], labels: Vec<u32>) -> Result<Batch> {
        let n = labels.len();
        Ok(Batch {
            images: crop(&self.pixels, windows)?,
            labels: Tensor::from_vec(labels, n, self.pixels.device())?,
            indices: windows.iter().map(|window| window.index).collect(),
        })
    }
}

/// Another source's batches, sent to a GPU.
pub(crate) struct Sent {
    source: Arc<dyn BatchSource>,
    device: Device,
}

impl Sent {
    /// `source` itself for the CPU.
    pub(crate) fn to(source: Arc<dyn BatchSource>, device: &Device) -> Arc<dyn BatchSource> {
        match device {
            Device::Cpu => source,
            _ => Arc::new(Self { source, device: device.clone() }),
        }
    }
}

impl BatchSource for Sent {
    fn n_samples(&self) -> usize {
        self.source.n_samples()
    }

    fn n_classes(&self) -> usize {
        self.source.n_classes()
    }

    fn image_shape(&self) -> [usize; 3] {
        self.source.image_shape()
    }

    fn order(&self, epoch: u64) -> Vec<u32> {
        self.source.order(epoch)
    }

    fn batch(&self, epoch: u64, indices: &[u32]) -> Result<Batch> {
        let Batch { images, labels, indices } = self.source.batch(epoch, indices)?;
        let (images, labels) = (images.to_device(&self.device)?, labels.to_device(&self.device)?);
        Ok(Batch { images, labels, indices })
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn mixes(&self) -> bool {
        self.source.mixes()
    }

    fn n_views(&self) -> Option<usize> {
        self.source.n_views()
    }

    fn view(&self, epoch: u64, index: u32) -> usize {
        self.source.view(epoch, index)
    }
}
