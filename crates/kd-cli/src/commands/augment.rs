//! Flags that say how training images are changed.

use clap::ValueEnum;
use kd_core::{Error, Result};
use kd_data::{Augment, Mixup, ResizedCrop};

/// How training images are changed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AugmentArgs {
    /// How training images are changed: not at all; crop: a window out of the padded image; resized-crop:
    /// a random part of a photograph, resized [default: resized-crop of photos, else crop]
    #[arg(long, value_enum, value_name = "HOW")]
    augment: Option<AugmentName>,
    /// Pad by so many pixels before the crop [default: 2]
    #[arg(long, value_name = "PIXELS")]
    crop_padding: Option<usize>,
    /// Mirror half of the images
    #[arg(long)]
    flip: bool,
    /// Show so many versions of each photograph, one an epoch and again from the first on, the same for
    /// every seed: what a teacher says of them can be kept [default: another one every epoch]
    #[arg(long, value_name = "N")]
    views: Option<usize>,
    /// Mix each photograph with another one, with shares of the distribution Beta(ALPHA, ALPHA); for soft targets
    /// alone, with --alpha 1
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum AugmentName {
    None,
    Crop,
    ResizedCrop,
}

impl AugmentArgs {
    /// For photographs of all sizes, or images in memory.
    pub(crate) fn augment(&self, are_photos: bool) -> Result<Augment> {
        let name = self.augment.unwrap_or(match (self.crop_padding, are_photos) {
            (None, true) => AugmentName::ResizedCrop,
            // A padding that is asked for asks for a crop.
            _ => AugmentName::Crop,
        });
        let (is_crop, is_resized) = (name == AugmentName::Crop, name == AugmentName::ResizedCrop);
        if self.crop_padding.is_some() && !is_crop {
            return Err(Error::config("crop-padding", "is for --augment crop; leave it out"));
        }
        if self.views.is_some() && !is_resized {
            let reason = "is for --augment resized-crop of photographs; other changes have the versions \
                          that they have";
            return Err(Error::config("views", reason));
        }
        let resized = || ResizedCrop { n_views: self.views, ..ResizedCrop::default() };
        Ok(Augment {
            crop_padding: if is_crop { self.crop_padding.unwrap_or(2) } else { 0 },
            resized_crop: is_resized.then(resized),
            mixup: self.mixup.map(|alpha| Mixup { alpha }),
            flip: self.flip,
            ..Augment::default()
        })
    }
}
