//! One part of a data set: images in memory, or photographs in files.
//!
//! Key decision: what a training chooses (a holdout, a subset, the classes it sees) is a choice of
//! rows, made from the labels alone, so that it is written once for both.

use std::sync::Arc;

use candle_core::Device;
use kd_core::record::DataFile;
use kd_core::{BatchSource, Error, Result, Stream};

use crate::resident::Sent;
use crate::{Augment, Images, Loader, PhotoLoader, Photos};

/// Labeled images, wherever they are. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Part {
    /// Images of one size in memory.
    Images(Arc<Images>),
    /// Photographs in files, decoded when they are needed.
    Photos(Photos),
}

impl From<Images> for Part {
    fn from(images: Images) -> Self {
        Self::Images(Arc::new(images))
    }
}

impl From<Photos> for Part {
    fn from(photos: Photos) -> Self {
        Self::Photos(photos)
    }
}

impl Part {
    /// Number of images, N; never zero.
    #[expect(clippy::len_without_is_empty, reason = "a set of images is never empty")]
    pub fn len(&self) -> usize {
        self.labels().len()
    }

    /// All labels, each below [`Part::n_classes`].
    pub fn labels(&self) -> &[u32] {
        match self {
            Self::Images(images) => images.labels(),
            Self::Photos(photos) => photos.labels(),
        }
    }

    /// Number of classes, K.
    pub fn n_classes(&self) -> usize {
        match self {
            Self::Images(images) => images.n_classes(),
            Self::Photos(photos) => photos.n_classes(),
        }
    }

    /// Names of the classes, by label; none where they are not known.
    pub fn class_names(&self) -> &[String] {
        match self {
            Self::Images(images) => images.class_names(),
            Self::Photos(photos) => photos.classes(),
        }
    }

    /// `[C, H, W]` of one image as a network sees it.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Self::Images(images) => images.shape(),
            Self::Photos(photos) => photos.shape(),
        }
    }

    /// The files that the images came from.
    pub fn files(&self) -> Vec<DataFile> {
        match self {
            Self::Images(images) => images.files().to_vec(),
            Self::Photos(photos) => photos.files(),
        }
    }

    /// What a user should know of the images, a line each, such as that files were passed over.
    pub fn remarks(&self) -> &[String] {
        match self {
            Self::Images(images) => images.remarks(),
            Self::Photos(photos) => photos.remarks(),
        }
    }

    /// Names of the photographs that were skipped or repaired so far, with the reasons.
    pub fn bad_images(&self) -> Vec<(String, String)> {
        match self {
            Self::Images(_) => Vec::new(),
            Self::Photos(photos) => photos.bad_images(),
        }
    }

    /// The images in memory.
    ///
    /// # Errors
    /// [`Error::Config`] for photographs: decoded, those of a real set do not fit.
    pub fn images(&self) -> Result<&Images> {
        match self {
            Self::Images(images) => Ok(images),
            Self::Photos(_) => {
                Err(Error::config("data", "photographs in files; images in memory are needed"))
            }
        }
    }

    /// Batches on `device` for training: another random order each epoch, images augmented.
    ///
    /// # Errors
    /// [`Error::Config`] when `augment` does not suit the images; when a GPU's memory is too small.
    pub fn training(
        &self,
        augment: &Augment,
        stream: Stream,
        device: &Device,
    ) -> Result<Arc<dyn BatchSource>> {
        let augment = augment.clone();
        match self.clone() {
            Self::Images(images) => Ok(Arc::new(Loader::new(images, augment, stream)?.on(device)?)),
            Self::Photos(photos) => {
                let loader = PhotoLoader::new(Arc::new(photos), augment, stream)?;
                Ok(Sent::to(Arc::new(loader), device))
            }
        }
    }

    /// Batches on `device` for evaluation: nothing is random, the order is that of the data set.
    ///
    /// # Errors
    /// When a GPU's memory is too small.
    pub fn in_order(&self, device: &Device) -> Result<Arc<dyn BatchSource>> {
        match self.clone() {
            Self::Images(images) => Ok(Arc::new(Loader::in_order(images).on(device)?)),
            Self::Photos(photos) => {
                Ok(Sent::to(Arc::new(PhotoLoader::in_order(Arc::new(photos))), device))
            }
        }
    }

    /// These images without those of `class`; the number of classes stays.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no such class, or no other.
    pub fn omit_class(&self, class: u32) -> Result<Self> {
        if class as usize >= self.n_classes() {
            let reason = format!("{class} is not one of the {} classes", self.n_classes());
            return Err(Error::config("omit_class", reason));
        }
        let labels = self.labels();
        let kept: Vec<u32> = (0..self.n()).filter(|&i| labels[i as usize] != class).collect();
        if kept.is_empty() {
            return Err(Error::config("omit_class", "no image of another class is left"));
        }
        Ok(self.select(&kept))
    }

    /// These images as ones of the classes of `other`, whose labels are not known: 0 stands in place of each.
    ///
    /// # Errors
    /// [`Error::Config`] when the images are not of the size and channels of those, or not kept alike.
    pub fn unlabelled(&self, other: &Self) -> Result<Self> {
        if self.shape() != other.shape() {
            let (got, want) = (self.shape(), other.shape());
            let reason = format!("its images are {got:?}, those of the data set {want:?}");
            return Err(Error::config("transfer", reason));
        }
        let names = other.class_names();
        match self {
            Self::Images(images) => Ok(images.unlabelled(other.n_classes(), names).into()),
            Self::Photos(photos) if names.len() == other.n_classes() => {
                Ok(photos.unlabelled(names).into())
            }
            Self::Photos(_) => {
                let reason = "photographs in files go with photographs in files";
                Err(Error::config("transfer", reason))
            }
        }
    }

    /// Splits off `n` random images: `(the others, the n)`, disjoint, together complete, both in
    /// the order of this set.
    ///
    /// # Errors
    /// [`Error::Config`] unless `0 < n < len`.
    pub fn split_holdout(&self, n: usize, stream: Stream) -> Result<(Self, Self)> {
        if n == 0 || n >= self.len() {
            let reason = format!("{n} must be at least 1 and below the {} images", self.len());
            return Err(Error::config("holdout", reason));
        }
        let order = stream.permutation(self.n());
        let (held_out, kept) = order.split_at(n);
        Ok((self.select(&sorted(kept)), self.select(&sorted(held_out))))
    }

    /// Splits off a share of each class, at random: `(the others, the share)`, both in the order of
    /// this set. Of each class at least one image is in either, but of a class of one image.
    ///
    /// # Errors
    /// [`Error::Config`] unless `0 < fraction < 1` and both get an image.
    pub fn split_classes(&self, fraction: f64, stream: Stream) -> Result<(Self, Self)> {
        if !(fraction > 0.0 && fraction < 1.0) {
            let reason = format!("{fraction} is no share: above 0 and below 1");
            return Err(Error::config("holdout", reason));
        }
        let mut rows = vec![Vec::new(); self.n_classes()];
        self.labels().iter().zip(0..).for_each(|(&label, i)| rows[label as usize].push(i));
        let (mut kept, mut split_off) = (Vec::new(), Vec::new());
        for (rows, label) in rows.iter().zip(0..) {
            let n = share(rows.len(), fraction);
            let order = stream.number(label).permutation(rows.len() as u32);
            let mut rows = order.iter().map(|&i| rows[i as usize]);
            split_off.extend(rows.by_ref().take(n));
            kept.extend(rows);
        }
        if kept.is_empty() || split_off.is_empty() {
            let reason = format!("no class has two images, of which {fraction} could be split off");
            return Err(Error::config("holdout", reason));
        }
        Ok((self.select(&sorted(&kept)), self.select(&sorted(&split_off))))
    }

    /// `n` random images in the order of this set; smaller subsets of one stream lie in larger.
    ///
    /// # Errors
    /// [`Error::Config`] unless `0 < n <= len`.
    pub fn subset(&self, n: usize, stream: Stream) -> Result<Self> {
        if n == 0 || n > self.len() {
            let reason = format!("{n} must be at least 1 and at most the {} images", self.len());
            return Err(Error::config("subset", reason));
        }
        Ok(self.select(&sorted(&stream.permutation(self.n())[..n])))
    }

    fn n(&self) -> u32 {
        self.len() as u32
    }

    fn select(&self, rows: &[u32]) -> Self {
        match self {
            Self::Images(images) => images.select(rows).into(),
            Self::Photos(photos) => photos.select(rows).into(),
        }
    }
}

/// How many of `n` images of a class are `fraction` of them, leaving one on each side.
pub(crate) fn share(n: usize, fraction: f64) -> usize {
    let share = (n as f64 * fraction).round() as usize;
    if n < 2 { 0 } else { share.clamp(1, n - 1) }
}

fn sorted(indices: &[u32]) -> Vec<u32> {
    let mut indices = indices.to_vec();
    indices.sort_unstable();
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1x1x2 images whose first pixel is their position, of classes 0, 1, 2, 0, 1, ...
    fn images(n: u8) -> Part {
        let pixels = (0..n).flat_map(|i| [i, 100]).collect();
        let labels = (0..n).map(|i| u32::from(i) % 3).collect();
        Images::new(pixels, labels, [1, 1, 2], 3).unwrap().into()
    }

    fn ids(part: &Part) -> Vec<u8> {
        part.images().unwrap().pixels().iter().copied().step_by(2).collect()
    }

    #[test]
    fn a_class_is_omitted_and_the_number_of_classes_stays() {
        let kept = images(9).omit_class(1).unwrap();
        assert_eq!(ids(&kept), [0, 2, 3, 5, 6, 8]);
        assert_eq!(kept.labels(), [0, 2, 0, 2, 0, 2]);
        assert_eq!(kept.n_classes(), 3);
        assert!(images(9).omit_class(3).is_err());
        assert!(images(1).omit_class(0).is_err());
    }

    #[test]
    fn images_of_another_set_lose_their_labels() {
        let other = Images::new(vec![7; 8], vec![6, 5, 4, 3], [1, 1, 2], 9).unwrap();
        let other = Part::from(other).unlabelled(&images(3)).unwrap();
        assert_eq!((other.labels(), other.n_classes(), other.len()), (&[0; 4][..], 3, 4));
        let large = Part::from(Images::new(vec![7; 4], vec![0], [1, 2, 2], 3).unwrap());
        let error = large.unlabelled(&images(3)).unwrap_err().to_string();
        assert!(error.contains("[1, 2, 2]") && error.contains("[1, 1, 2]"), "{error}");
    }

    #[test]
    fn a_holdout_is_seeded_disjoint_and_complete() {
        let all = images(50);
        let (train, holdout) = all.split_holdout(20, Stream::new(1)).unwrap();
        assert_eq!((train.len(), holdout.len()), (30, 20));
        let again = |seed| ids(&all.split_holdout(20, Stream::new(seed)).unwrap().1);
        assert_eq!(again(1), ids(&holdout));
        assert_ne!(again(2), ids(&holdout));
        let mut both = [ids(&train), ids(&holdout)].concat();
        both.sort_unstable();
        assert_eq!(both, ids(&all));
        let in_step =
            |set: &Part| ids(set).iter().zip(set.labels()).all(|(&i, &l)| u32::from(i) % 3 == l);
        assert!(in_step(&train) && in_step(&holdout));
        assert!(all.split_holdout(0, Stream::new(1)).is_err());
        assert!(all.split_holdout(50, Stream::new(1)).is_err());
    }

    #[test]
    fn subsets_are_nested() {
        let all = images(50);
        let small = ids(&all.subset(5, Stream::new(1)).unwrap());
        let large = ids(&all.subset(10, Stream::new(1)).unwrap());
        assert!(small.iter().all(|id| large.contains(id)));
        assert_eq!(ids(&all.subset(50, Stream::new(1)).unwrap()), ids(&all));
        assert!(all.subset(51, Stream::new(1)).is_err() && all.subset(0, Stream::new(1)).is_err());
    }
}
