//! Flags that say which images a command reads, and how.

use clap::builder::TypedValueParser;
use kd_core::{Error, Result};
use kd_data::{DataSpec, OnBadImage};

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
        let mut spec = kd_suite::data(&self.data)?;
        match &mut spec {
            DataSpec::Photos(photos) => {
                let known = known();
                let square = known.filter(|[_, height, width]| height == width);
                let crop = self.crop.or(square.map(|[_, side, _]| side));
                *photos = photos.clone().with_sizes(self.resize, crop);
                let channels = self.channels.or(known.map(|[channels, ..]| channels));
                photos.channels = channels.unwrap_or(photos.channels);
                photos.on_bad_image = self.on_bad_image.unwrap_or_default();
            }
            DataSpec::Folder(folder) => {
                folder.channels = self.channels.or_else(|| known().map(|[channels, ..]| channels));
            }
            DataSpec::Idx(idx) => idx.first_label = self.first_label,
            _ => {}
        }
        self.check(&spec)?;
        Ok(spec)
    }

    /// Refuses what this data set has no use for.
    fn check(&self, spec: &DataSpec) -> Result<()> {
        let is_photos = matches!(spec, DataSpec::Photos(_));
        let has_channels = is_photos || matches!(spec, DataSpec::Folder(_));
        let is_idx = matches!(spec, DataSpec::Idx(_));
        let flags = [
            ("resize", self.resize.is_some(), is_photos, "photos:PATH"),
            ("crop", self.crop.is_some(), is_photos, "photos:PATH"),
            ("on-bad-image", self.on_bad_image.is_some(), is_photos, "photos:PATH"),
            ("channels", self.channels.is_some(), has_channels, "photos:PATH and folder:PATH"),
            ("first-label", self.first_label.is_some(), is_idx, "idx:PATH"),
        ];
        match flags.iter().find(|(_, is_given, is_used, _)| *is_given && !is_used) {
            Some((flag, _, _, kinds)) => {
                let reason = format!("is for {kinds}, not for --data {}; leave it out", self.data);
                Err(Error::config(*flag, reason))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(data: &str) -> DataArgs {
        DataArgs {
            data: data.into(),
            resize: None,
            crop: None,
            on_bad_image: None,
            channels: None,
            first_label: None,
        }
    }

    fn sizes(args: &DataArgs, known: Option<[usize; 3]>) -> (usize, usize, usize) {
        let DataSpec::Photos(photos) = args.spec(|| known).unwrap() else { panic!("another kind") };
        (photos.resize, photos.crop, photos.channels)
    }

    #[test]
    fn sizes_that_are_not_given_are_the_networks_or_by_the_others() {
        let photos = || args("photos:a");
        assert_eq!(sizes(&photos(), None), (256, 224, 3));
        assert_eq!(sizes(&photos(), Some([1, 64, 64])), (74, 64, 1));
        assert_eq!(sizes(&photos(), Some([3, 224, 224])), (256, 224, 3));
        let given = DataArgs { crop: Some(128), channels: Some(3), ..photos() };
        assert_eq!(sizes(&given, Some([1, 64, 64])), (147, 128, 3));
        let given = DataArgs { resize: Some(256), ..photos() };
        assert_eq!(sizes(&given, None), (256, 224, 3));
        let given = DataArgs { resize: Some(70), crop: Some(64), ..photos() };
        assert_eq!(sizes(&given, Some([3, 32, 32])), (70, 64, 3));
        let DataSpec::Folder(folder) = args("folder:a").spec(|| Some([1, 28, 28])).unwrap() else {
            panic!("another kind")
        };
        assert_eq!(folder.channels, Some(1));
    }

    #[test]
    fn what_a_data_set_has_no_use_for_is_refused() {
        for (args, words) in [
            (
                DataArgs { crop: Some(32), ..args("mnist") },
                "`crop`: is for photos:PATH, not for --data mnist",
            ),
            (DataArgs { resize: Some(32), ..args("folder:a") }, "`resize`: is for photos:PATH"),
            (
                DataArgs { on_bad_image: Some(OnBadImage::Skip), ..args("idx:a") },
                "`on-bad-image`: ",
            ),
            (
                DataArgs { channels: Some(1), ..args("cifar10") },
                "`channels`: is for photos:PATH and",
            ),
            (
                DataArgs { first_label: Some(1), ..args("cifar100:fine") },
                "`first-label`: is for idx",
            ),
        ] {
            let error = args.spec(|| None).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
