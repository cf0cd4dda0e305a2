//! Photographs of all sizes in class folders, such as ImageNet's.

use std::path::{Path, PathBuf};

use kd_core::ops::Normalize;
use kd_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::listing::{Places, existing};
use crate::photos::usual_resize;
use crate::{Dataset, Images, OnBadImage, Part, Parts, Photos, Split, Splits};

/// Classes, training and validation images of ILSVRC2012.
const ILSVRC2012: [usize; 3] = [1000, 1_281_167, 50_000];

/// `PATH/train/CLASS/*.JPEG` and `PATH/val/CLASS/*.JPEG`, as torchvision's `ImageFolder` reads
/// them, or `PATH/train` and `PATH/val` as `kd data pack` wrote them; `test` also serves as `val`.
/// Where `SHA256SUMS` lies beside the class folders, as `kd data sums` writes it, a photograph that
/// it does not agree with is a bad image.
///
/// Evaluation resizes the shorter side to `resize` and cuts out the central square of side `crop`,
/// both by torchvision's rules. Training does the same unless its augmentation says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhotoFolder {
    /// The folder; a relative path begins at the data folder.
    pub path: PathBuf,
    /// Pixels of the shorter side before the central square is cut out.
    pub resize: usize,
    /// Side of the image that a network sees.
    pub crop: usize,
    /// 3 for RGB, 1 for gray as Pillow's `convert("L")` makes it.
    #[serde(skip_serializing_if = "is_rgb")]
    pub channels: usize,
    /// What becomes of a photograph that cannot be decoded, or whose checksum is wrong.
    pub on_bad_image: OnBadImage,
    /// Mean of each channel, for pixels in `[0, 1]`; the default is ImageNet's.
    pub mean: [f32; 3],
    /// Standard deviation of each channel; the default is ImageNet's as well.
    pub std: [f32; 3],
}

impl Default for PhotoFolder {
    fn default() -> Self {
        Self {
            path: "imagenet".into(),
            resize: 256,
            crop: 224,
            channels: 3,
            on_bad_image: OnBadImage::default(),
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }
}

impl Dataset for PhotoFolder {
    fn load(&self, dir: Option<&Path>) -> Result<Splits> {
        let Parts { train, test, official } = self.parts(dir)?;
        Ok(Splits { train: in_memory(&train)?, test: in_memory(&test)?, official })
    }

    fn load_split(&self, dir: Option<&Path>, split: Split) -> Result<Images> {
        in_memory(&self.part(dir, split)?)
    }

    fn parts(&self, dir: Option<&Path>) -> Result<Parts> {
        let root = self.root(dir)?;
        let (train, test) = parts(&root).both(&root)?;
        let (train, test) = (self.open(&train)?, self.open(&test)?);
        train.require_pictures()?;
        let test = test.with_classes(train.classes())?;
        // Names and numbers only: to hash 148 GB takes longer than most trainings.
        let official = [train.n_classes(), train.len(), test.len()] == ILSVRC2012;
        Ok(Parts { train: train.into(), test: test.into(), official })
    }

    fn part(&self, dir: Option<&Path>, split: Split) -> Result<Part> {
        let root = self.root(dir)?;
        let parts = parts(&root);
        let folder = match split {
            _ if parts.are_none() => Some(root.clone()),
            Split::Train => parts.train,
            Split::Test => parts.test,
        };
        let folder = folder.ok_or_else(|| Error::Missing {
            path: root.join(if split == Split::Train { "train" } else { "val" }),
            hint: "this part is not there; `--split` chooses the other".into(),
        })?;
        self.open(&folder).map(Part::from)
    }

    fn whole(&self, dir: Option<&Path>) -> Result<Option<Part>> {
        let root = self.root(dir)?;
        match parts(&root).are_none() {
            true => {
                let photos = self.open(&root)?;
                photos.require_pictures()?;
                Ok(Some(photos.into()))
            }
            false => Ok(None),
        }
    }

    fn normalize(&self) -> Normalize {
        Normalize { mean: self.mean.to_vec(), std: self.std.to_vec() }
    }
}

impl PhotoFolder {
    /// With these sizes; one that is not given is by the other as 256 and 224 are to each other.
    pub fn with_sizes(self, resize: Option<usize>, crop: Option<usize>) -> Self {
        let (resize, crop) = match (resize, crop) {
            (None, None) => (self.resize, self.crop),
            (Some(resize), None) => (resize, (resize * 7 / 8).max(1)),
            (resize, Some(crop)) => (resize.unwrap_or_else(|| usual_resize(crop)), crop),
        };
        Self { resize, crop, ..self }
    }

    fn root(&self, dir: Option<&Path>) -> Result<PathBuf> {
        let root = dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path));
        let hint = "it should hold `train` and `val` with class folders; `kd data imagenet` makes \
                    them from the archives";
        existing(root, hint)
    }

    fn open(&self, folder: &Path) -> Result<Photos> {
        let photos = Photos::open(folder)?.with_policy(self.on_bad_image);
        photos.with_channels(self.channels)?.with_size(self.resize, self.crop)
    }
}

fn parts(root: &Path) -> Places {
    Places::val_first(root, Photos::is_pack)
}

fn is_rgb(channels: &usize) -> bool {
    *channels == 3
}

/// All photographs of a part as evaluation sees them.
fn in_memory(part: &Part) -> Result<Images> {
    match part {
        Part::Images(images) => Ok(Images::clone(images)),
        Part::Photos(photos) => photos.images(&(0..photos.len() as u32).collect::<Vec<_>>()),
    }
}
