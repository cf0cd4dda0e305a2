//! Photographs in files, decoded when they are needed.
//!
//! Key decision: nothing is prepared and nothing kept. A photograph is read, decoded, cut and
//! resized for the batch that asks for it, on one thread from file to tensor, so that 1.3 million
//! photographs need the memory of their names. What networks see is what torchvision with Pillow
//! shows them, to one part in 255.

mod loader;
mod pack;
mod policy;
pub(crate) mod resize;
mod resized_crop;
mod single;
mod source;
mod view;

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use kd_core::record::DataFile;
use kd_core::{Error, Result};
use rayon::prelude::*;

pub use self::loader::PhotoLoader;
pub use self::pack::{PackSettings, PackSummary, Packed, Packer};
pub use self::policy::OnBadImage;
pub use self::resized_crop::ResizedCrop;
pub(crate) use self::single::usual_resize;
pub use self::single::{photograph, pictures_in};

use self::policy::BadImages;
use self::source::Source;
use self::view::View;
use crate::Images;
use crate::decode::{Picture, Rgb, lenient};
use crate::listing::{class_order, existing};
use crate::sums;

/// The most bytes of decoded images in memory.
const MAX_BYTES: usize = 8 << 30;
/// Greatest side of the image that networks see, and of what it is cut out of.
const MAX_SIDE: usize = 4096;

/// Photographs with labels, in files, decoded when they are needed. Cheap to clone.
///
/// A network sees them as squares of side `crop` in RGB: for evaluation the center of the
/// photograph whose shorter side was resized to `resize`, as torchvision's `Resize` and
/// `CenterCrop`; see [`PhotoLoader`] for training. JPEG files are decoded to the bytes that
/// libjpeg-turbo decodes them to, those of other formats as by Pillow; CMYK and gray ones become RGB
/// as there. An EXIF orientation does not count, as with torchvision.
#[derive(Debug, Clone)]
pub struct Photos {
    source: Arc<Source>,
    /// Which of the source's images these are; without a value all of them.
    rows: Option<Arc<[u32]>>,
    labels: Arc<[u32]>,
    resize: usize,
    crop: usize,
    n_channels: usize,
    on_bad_image: OnBadImage,
    bad_images: BadImages,
    /// Names of the classes, where they are more than the source's.
    classes: Option<Arc<[String]>>,
    remarks: Arc<[String]>,
}

impl Photos {
    /// The photographs `PATH/CLASS/*.JPEG`, or of another format of torchvision's `ImageFolder`,
    /// classes and files in the order of their names as there. Lists them; decodes nothing.
    ///
    /// What is no picture is passed over, and counted in [`Photos::remarks`]. Where
    /// `PATH/SHA256SUMS` is, as `kd data sums` writes it, each photograph is compared with it
    /// whenever it is read.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such folder; [`Error::Parse`] for one without pictures, a
    /// name that is not UTF-8, links in a circle, or a `SHA256SUMS` of other photographs;
    /// [`Error::Io`], also for a symbolic link that leads nowhere.
    pub fn folder(path: &Path) -> Result<Self> {
        let path = existing(path.into(), "it should be a folder with class folders")?;
        let listing = sums::listing(&path)?;
        let remarks = listing.remarks().into();
        Ok(Self { remarks, ..Self::new(Source::Files(listing, OnceLock::new())) })
    }

    /// Refuses a class without photographs, from which nothing is learnt.
    ///
    /// # Errors
    /// [`Error::Parse`].
    pub(crate) fn require_pictures(&self) -> Result<()> {
        match &*self.source {
            Source::Files(listing, _) => listing.require_pictures(),
            Source::Packed(_) => Ok(()),
        }
    }

    /// The photographs of the folder that `kd data pack` wrote; those that were skipped or
    /// repaired then are in the list of bad images from the beginning.
    ///
    /// # Errors
    /// As [`Packed::open`].
    pub fn packed(path: &Path) -> Result<Self> {
        let packed = Packed::open(path)?;
        let bad_images = packed.bad_images().to_vec();
        let remarks = class_order(packed.classes()).into_iter().collect();
        let photos = Self { remarks, ..Self::new(Source::Packed(packed)) };
        bad_images.into_iter().for_each(|(name, reason)| photos.bad_images.note(name, reason));
        Ok(photos)
    }

    /// The photographs of a folder that is a pack, or else has class folders.
    ///
    /// # Errors
    /// As [`Photos::packed`] or [`Photos::folder`].
    pub fn open(path: &Path) -> Result<Self> {
        if Self::is_pack(path) { Self::packed(path) } else { Self::folder(path) }
    }

    /// Whether `kd data pack` wrote this folder.
    pub(crate) fn is_pack(path: &Path) -> bool {
        path.join(pack::INDEX).is_file()
    }

    fn new(source: Source) -> Self {
        Self {
            labels: source.labels().into(),
            source: Arc::new(source),
            rows: None,
            resize: 256,
            crop: 224,
            n_channels: 3,
            classes: None,
            remarks: [].into(),
            on_bad_image: OnBadImage::default(),
            bad_images: BadImages::default(),
        }
    }

    /// Whether the photographs were made smaller and compressed again, so that accuracies are not
    /// those on the originals.
    pub fn is_packed(&self) -> bool {
        matches!(*self.source, Source::Packed(_))
    }

    /// Photographs of which networks see squares of side `crop`, for evaluation out of the center
    /// of those whose shorter side is `resize`; 224 and 256 unless chosen.
    ///
    /// # Errors
    /// [`Error::Config`] unless `1 <= crop <= resize <= 4096`.
    pub fn with_size(self, resize: usize, crop: usize) -> Result<Self> {
        if crop == 0 || crop > resize || resize > MAX_SIDE {
            let reason = format!("{crop} must be at least 1 and at most `resize`");
            return Err(Error::config(
                "crop",
                format!("{reason}, {resize}, of at most {MAX_SIDE}"),
            ));
        }
        Ok(Self { resize, crop, ..self })
    }

    /// RGB for 3 channels, gray as by Pillow's `convert("L")` for 1; RGB unless chosen.
    ///
    /// # Errors
    /// [`Error::Config`] for another number.
    pub fn with_channels(self, n_channels: usize) -> Result<Self> {
        match n_channels {
            1 | 3 => Ok(Self { n_channels, ..self }),
            n => Err(Error::config("data.channels", format!("{n} is neither 1 nor 3"))),
        }
    }

    /// These photographs with labels by `classes`, which are sorted, of which theirs are some or all.
    ///
    /// # Errors
    /// [`Error::Config`] that names a class which is none of them.
    pub fn with_classes(self, classes: &[String]) -> Result<Self> {
        let position = |class: &String| {
            classes.binary_search(class).map(|label| label as u32).map_err(|_| {
                let reason = format!("`{class}` is none of the training images' classes");
                Error::config("data", reason)
            })
        };
        let position = self.classes().iter().map(position).collect::<Result<Vec<u32>>>()?;
        let labels: Arc<[u32]> =
            self.labels.iter().map(|&label| position[label as usize]).collect();
        let remarks = match &*self.source {
            Source::Files(listing, _) => listing.remarks_as(classes, &labels).into(),
            Source::Packed(_) => class_order(classes).into_iter().collect(),
        };
        Ok(Self { labels, remarks, classes: Some(classes.into()), ..self })
    }

    /// What becomes of photographs that cannot be decoded, or whose checksums are wrong.
    #[must_use]
    pub fn with_policy(self, on_bad_image: OnBadImage) -> Self {
        Self { on_bad_image, ..self }
    }

    /// Number of photographs, N; never zero but by [`Photos::select`].
    #[expect(clippy::len_without_is_empty, reason = "a set of photographs is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// All labels, each below [`Photos::n_classes`].
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        self.classes.as_deref().unwrap_or_else(|| self.source.classes())
    }

    /// What a user should know of them, a line each.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Number of classes, K.
    pub fn n_classes(&self) -> usize {
        self.classes().len()
    }

    /// `[C, crop, crop]`: what networks see.
    pub fn shape(&self) -> [usize; 3] {
        [self.n_channels, self.crop, self.crop]
    }

    /// What their shorter side becomes for evaluation, before the center is cut out.
    pub(crate) fn resize(&self) -> usize {
        self.resize
    }

    /// `CLASS/FILE` of photograph `i`.
    ///
    /// # Panics
    /// When `i` is not below [`Photos::len`].
    pub fn name(&self, i: usize) -> String {
        self.source.name(self.row(i))
    }

    /// The file of photograph `i`, as it is.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], or [`Error::Parse`] for more than 64 MB or a wrong
    /// checksum, by `SHA256SUMS` or in a pack.
    ///
    /// # Panics
    /// When `i` is not below [`Photos::len`].
    pub fn bytes(&self, i: usize) -> Result<Cow<'_, [u8]>> {
        self.source.bytes(self.row(i))
    }

    /// These photographs only, in this order; their indices begin at 0 again, the classes stay.
    ///
    /// # Panics
    /// When a row is not below [`Photos::len`].
    #[must_use]
    pub fn select(&self, rows: &[u32]) -> Self {
        let labels = rows.iter().map(|&i| self.labels[i as usize]).collect();
        let rows = rows.iter().map(|&i| self.row(i as usize) as u32).collect();
        Self { rows: Some(rows), labels, ..self.clone() }
    }

    /// The same photographs as ones of other classes, whose labels are not known: 0 stands in place of each.
    pub(crate) fn unlabelled(&self, class_names: &[String]) -> Self {
        let (labels, classes) = (vec![0; self.labels.len()].into(), Some(class_names.into()));
        Self { labels, classes, ..self.clone() }
    }

    /// One digest for all files, also of a selection. With `SHA256SUMS` it is over the contents: of
    /// the lines `SHA-256  CLASS/FILE`, in the order of the photographs, which `kd data sums` writes.
    /// Without, it is of the lines `SIZE  CLASS/FILE`, and contents are not read, since those of
    /// ImageNet are 148 GB; a file that is not there any more has size 0 here and is an error when
    /// it is read. A pack's is that of its index.
    pub fn files(&self) -> Vec<DataFile> {
        vec![self.source.file()]
    }

    /// What was skipped or repaired so far, by this set or a clone of it: names and reasons,
    /// sorted by name.
    pub fn bad_images(&self) -> Vec<(String, String)> {
        self.bad_images.list()
    }

    /// The photographs at `rows` as evaluation sees them, as bytes in memory; without those that
    /// the policy skips.
    ///
    /// # Errors
    /// As [`Photos::bytes`]; [`Error::Parse`] for a photograph that cannot be decoded, unless the
    /// policy passes over it; [`Error::Config`] for more than 8 GB, or when none is left.
    ///
    /// # Panics
    /// When a row is not below [`Photos::len`].
    pub fn images(&self, rows: &[u32]) -> Result<Images> {
        let n_bytes = rows.len().checked_mul(3 * self.crop * self.crop);
        if n_bytes.is_none_or(|n_bytes| n_bytes > MAX_BYTES) {
            let reason = format!("{} do not fit into {MAX_BYTES} bytes; take fewer", rows.len());
            return Err(Error::config("images", reason));
        }
        let images: Vec<Result<Option<Vec<u8>>>> =
            rows.par_iter().with_max_len(1).map(|&i| self.central(i as usize)).collect();
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for (&i, image) in rows.iter().zip(images) {
            let Some(image) = image? else { continue };
            let channel = |c: usize| image.iter().skip(c).step_by(3);
            (0..self.n_channels).for_each(|c| pixels.extend(channel(c)));
            labels.push(self.labels[i as usize]);
        }
        let images = Images::new(pixels, labels, self.shape(), self.n_classes())?;
        let images = images.with_class_names(self.classes()).with_files(self.files());
        Ok(images.with_remarks(self.remarks().to_vec()))
    }

    /// `[H, W]` of photograph `i`, by its header.
    fn size(&self, i: usize) -> Result<[usize; 2]> {
        let bytes = self.bytes(i)?;
        let size = Picture::open(&bytes).map(|picture| picture.size());
        size.map_err(|reason| self.fault(i, reason))
    }

    fn central(&self, i: usize) -> Result<Option<Vec<u8>>> {
        let look = |size| View::center(size, self.resize, self.crop, false);
        Ok(self.image(i, look)?.map(|(image, _)| image))
    }

    /// The view that `look` chooses by the size of photograph `i`, as `crop` x `crop` x 3 bytes
    /// that are not yet flipped; none when the policy skips it.
    fn image(
        &self,
        i: usize,
        look: impl FnOnce([usize; 2]) -> View,
    ) -> Result<Option<(Vec<u8>, View)>> {
        let Some(mut rgb) = self.decode(i)? else {
            return Ok(None);
        };
        if self.n_channels == 1 {
            rgb = rgb.into_gray();
        }
        let view = look(rgb.size);
        Ok(Some((view.image(rgb, self.crop)?, view)))
    }

    /// Photograph `i` in all its pixels; none when the policy skips it.
    pub(crate) fn decode(&self, i: usize) -> Result<Option<Rgb>> {
        let bytes = match self.bytes(i) {
            // Too many, or not those that the checksum is of.
            Err(Error::Parse { reason, .. }) if self.on_bad_image == OnBadImage::Skip => {
                return Ok(self.skip(i, &reason));
            }
            bytes => bytes?,
        };
        match (Picture::open(&bytes).and_then(|picture| picture.rgb()), self.on_bad_image) {
            (Ok(rgb), _) => Ok(Some(rgb)),
            (Err(reason), OnBadImage::Error) => Err(self.fault(i, reason)),
            (Err(reason), OnBadImage::Skip) => Ok(self.skip(i, &reason)),
            (Err(reason), OnBadImage::Lenient) => {
                let rgb = lenient(&bytes).map_err(|reason| self.fault(i, reason))?;
                self.bad_images.note(self.name(i), format!("repaired: {reason}"));
                Ok(Some(rgb))
            }
        }
    }

    fn skip(&self, i: usize, reason: &str) -> Option<Rgb> {
        self.bad_images.note(self.name(i), format!("skipped: {reason}"));
        None
    }

    fn fault(&self, i: usize, reason: String) -> Error {
        let reason = if self.is_packed() { format!("{}: {reason}", self.name(i)) } else { reason };
        Error::Parse { path: self.source.path(self.row(i)), offset: 0, reason }
    }

    /// The position of photograph `i` in its source.
    fn row(&self, i: usize) -> usize {
        self.rows.as_ref().map_or(i, |rows| rows[i] as usize)
    }
}

#[cfg(test)]
mod tests;
