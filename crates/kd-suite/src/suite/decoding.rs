//! A data set by its name, with what is said of how its images are read.

use kd_core::{Error, Result};
use kd_data::{DataSpec, OnBadImage};

use super::names::data;

/// How images are read, by the data sets that have a use for it.
#[derive(Debug, Clone, Default)]
pub struct Decoding {
    /// Pixels of a photograph's shorter side before the central square is cut out.
    pub resize: Option<usize>,
    /// Side of that square; the network's, else by `resize`, else the usual one.
    pub crop: Option<usize>,
    /// What becomes of photographs that cannot be decoded.
    pub on_bad_image: Option<OnBadImage>,
    /// 1 for gray, 3 for RGB; the network's, else of photographs 3, of other pictures what they have.
    pub channels: Option<usize>,
    /// The label of class 0 in IDX files.
    pub first_label: Option<u8>,
}

impl Decoding {
    /// The data set `name`; `known` is `[C, H, W]` of the images that a network takes, where it says it.
    ///
    /// # Errors
    /// [`Error::Config`] with all names, or for what this data set has no use for.
    pub fn of(&self, name: &str, known: impl FnOnce() -> Option<[usize; 3]>) -> Result<DataSpec> {
        let mut spec = data(name)?;
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
        self.check(name, &spec)?;
        Ok(spec)
    }

    /// Refuses what this data set has no use for.
    fn check(&self, name: &str, spec: &DataSpec) -> Result<()> {
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
                let reason = format!("is for {kinds}, not for --data {name}; leave it out");
                Err(Error::config(*flag, reason))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(decoding: &Decoding, known: Option<[usize; 3]>) -> (usize, usize, usize) {
        let DataSpec::Photos(photos) = decoding.of("photos:a", || known).unwrap() else {
            panic!("another kind")
        };
        (photos.resize, photos.crop, photos.channels)
    }

    #[test]
    fn sizes_that_are_not_given_are_the_networks_or_by_the_others() {
        let usual = Decoding::default;
        assert_eq!(sizes(&usual(), None), (256, 224, 3));
        assert_eq!(sizes(&usual(), Some([1, 64, 64])), (74, 64, 1));
        assert_eq!(sizes(&usual(), Some([3, 224, 224])), (256, 224, 3));
        let given = Decoding { crop: Some(128), channels: Some(3), ..usual() };
        assert_eq!(sizes(&given, Some([1, 64, 64])), (147, 128, 3));
        let given = Decoding { resize: Some(256), ..usual() };
        assert_eq!(sizes(&given, None), (256, 224, 3));
        let given = Decoding { resize: Some(70), crop: Some(64), ..usual() };
        assert_eq!(sizes(&given, Some([3, 32, 32])), (70, 64, 3));
        let DataSpec::Folder(folder) = usual().of("folder:a", || Some([1, 28, 28])).unwrap() else {
            panic!("another kind")
        };
        assert_eq!(folder.channels, Some(1));
    }

    #[test]
    fn what_a_data_set_has_no_use_for_is_refused() {
        let (usual, skip) = (Decoding::default, Some(OnBadImage::Skip));
        for (name, decoding, words) in [
            (
                "mnist",
                Decoding { crop: Some(32), ..usual() },
                "`crop`: is for photos:PATH, not for --data mnist",
            ),
            ("folder:a", Decoding { resize: Some(32), ..usual() }, "`resize`: is for photos:PATH"),
            ("idx:a", Decoding { on_bad_image: skip, ..usual() }, "`on-bad-image`: "),
            (
                "cifar10",
                Decoding { channels: Some(1), ..usual() },
                "`channels`: is for photos:PATH and",
            ),
            (
                "cifar100:fine",
                Decoding { first_label: Some(1), ..usual() },
                "`first-label`: is for idx",
            ),
        ] {
            let error = decoding.of(name, || None).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
