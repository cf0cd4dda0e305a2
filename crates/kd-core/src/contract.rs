//! The contracts through which sibling crates meet without importing each other.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use crate::{Error, Graph, Mode, Params, Part, Pass, Result, Stream};

/// Images with their labels, as a loader hands them over.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `(N, C, H, W)` f32, pixels in `[0, 1]`.
    pub images: Tensor,
    /// `(N,)` u32, each below the number of classes.
    pub labels: Tensor,
    /// Position of each image in its data set.
    pub indices: Vec<u32>,
}

/// A data set from which batches are made, each a pure function of `(epoch, indices)`.
pub trait BatchSource: Send + Sync {
    /// Number of images an epoch visits.
    fn n_samples(&self) -> usize;

    /// Number of classes, K.
    fn n_classes(&self) -> usize;

    /// `[C, H, W]` of one image.
    fn image_shape(&self) -> [usize; 3];

    /// The indices of all images, in the order in which epoch `epoch` visits them.
    fn order(&self, epoch: u64) -> Vec<u32>;

    /// The images at `indices`, augmented as in epoch `epoch`, with their labels.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when an index is out of range.
    fn batch(&self, epoch: u64, indices: &[u32]) -> Result<Batch>;

    /// Where the batches are made.
    fn device(&self) -> Device {
        Device::Cpu
    }

    /// Whether an image is a mixture of two, of which the label says only the one with the larger share.
    fn mixes(&self) -> bool {
        false
    }

    /// How many versions of an image there are, where they can be numbered: 25 for crops of an
    /// image padded by 2, 1 for images as they are.
    fn n_views(&self) -> Option<usize> {
        None
    }

    /// The number, below [`BatchSource::n_views`], of the version that epoch `epoch` shows of the
    /// image `index`: versions of equal number are equal.
    fn view(&self, _epoch: u64, _index: u32) -> usize {
        0
    }
}

/// A network from images to logits.
pub trait Classifier: Send + Sync {
    /// Pixels `(N, C, H, W)` f32 -> raw logits `(N, K)`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the images are not of the network's input shape.
    fn forward(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor>;

    /// Logits, and the outputs of the network's parts `taps` by name, for feature distillation.
    ///
    /// # Errors
    /// As [`Classifier::forward`]; [`Error::Config`] for a name that is none of
    /// [`Classifier::tap_names`].
    fn forward_with_taps(
        &self,
        pixels: &Tensor,
        mode: Mode,
        taps: &[&str],
    ) -> Result<(Tensor, BTreeMap<String, Tensor>)> {
        match taps {
            [] => Ok((self.forward(pixels, mode)?, BTreeMap::new())),
            [tap, ..] => Err(Error::config(*tap, "this network has no parts by name")),
        }
    }

    /// What the part of the network that training does not change makes of the images, `(N, ...)`;
    /// nothing where there is no such part before all that learns.
    ///
    /// # Errors
    /// As [`Classifier::forward`].
    fn features(&self, _pixels: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Logits, the same bits as [`Classifier::forward`]'s, from what [`Classifier::features`] gave.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for other features; [`Error::Config`] where there are none.
    fn forward_features(&self, _features: &Tensor, _mode: Mode) -> Result<Tensor> {
        Err(Error::config("features", "no part of this network is frozen"))
    }

    /// The logits, in training, of those shards of a batch that are here and have images: their pixels are
    /// `shards`. All shards of all ranks go through the network together, batch norm sums over all of them.
    ///
    /// # Errors
    /// [`Error::Config`] where a network cannot do so; [`Error::Rank`] when another rank is gone.
    fn forward_shards(&self, _shards: &[Tensor], _mode: Mode, _part: &Part) -> Result<Pass> {
        let reason =
            "only networks that are graphs of kd's operations learn from batches in shards";
        Err(Error::config("shards", reason))
    }

    /// Names of the parts whose outputs can be asked for.
    fn tap_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Number of classes, K.
    fn n_classes(&self) -> usize;

    /// The trainable parameters.
    fn params(&self) -> &Params;

    /// What the network is, where it is known: for files and counts.
    fn graph(&self) -> Option<&Graph> {
        None
    }
}

/// An attack as the training loop sees it: images in, perturbed images out.
pub trait Perturb: Send + Sync {
    /// Perturbs `batch.images` against `model`; labels and indices stay.
    ///
    /// # Errors
    /// Whatever the attack's forward and backward passes report.
    fn perturb(&self, model: &dyn Classifier, batch: &Batch, stream: Stream) -> Result<Tensor>;
}
