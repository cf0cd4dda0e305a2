//! Flags that say which images a command reads, and how.

use clap::builder::TypedValueParser;
use kd_core::Result;
use kd_data::{DataSpec, OnBadImage};
use kd_suite::Decoding;

use super::words::one_of;

/// Which images, and how they are read.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DataArgs {
    /// Data set, such as cifar10, cifar100:coarse, idx:PATH (IDX files), folder:PATH (class folders of
    /// images of one size) or photos:PATH (of all sizes)
    #[arg(long, default_value = "mnist")]
    pub(crate) data: String,
    /// Pixels of a photograph's shorter side before the central square is cut out [default: crop /
    /// 0.875]
    #[arg(long, value_name = "PIXELS")]
    resize: Option<usize>,
    /// Side of the square of a photograph that the network sees [default: the network's, else resize x
    /// 0.875, else 224]
    #[arg(long, value_name = "PIXELS")]
    crop: Option<usize>,
    /// What becomes of photographs that cannot be decoded; skipped and repaired ones are listed
    #[arg(long, value_parser = policy())]
    on_bad_image: Option<OnBadImage>,
    /// 1 for gray, 3 for RGB, of pictures in class folders [default: the network's, else of folder:
    /// what the files have, of photos: 3]
    #[arg(long, value_name = "N")]
    channels: Option<usize>,
    /// The label of class 0 in IDX files [default: 1 where no label is 0]
    #[arg(long, value_name = "LABEL")]
    first_label: Option<u8>,
}

/// What becomes of photographs that cannot be decoded.
pub(crate) fn policy() -> impl TypedValueParser<Value = OnBadImage> {
    one_of(&["error", "skip", "lenient"])
}

impl DataArgs {
    /// The data set; `known` is `[C, H, W]` of the images that a network takes, where it says it.
    pub(crate) fn spec(&self, known: impl FnOnce() -> Option<[usize; 3]>) -> Result<DataSpec> {
        let Self { resize, crop, on_bad_image, channels, first_label, .. } = *self;
        Decoding { resize, crop, on_bad_image, channels, first_label }.of(&self.data, known)
    }
}
