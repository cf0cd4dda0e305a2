//! Class folders: one folder of picture files per class, as torchvision's `ImageFolder`.
//!
//! Key decision: images are decoded on all threads into their final places, and the first fault in
//! the order of the files is the one reported, so that the result does not depend on the number of
//! threads. Pictures that are all gray have one channel, as networks for gray images take them.

use std::path::{Path, PathBuf};

use kd_core::ops::Normalize;
use kd_core::{Error, Result, fsx};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::decode::{Picture, luminance};
use crate::listing::{Listing, Places, class_folders, existing};
use crate::sums;
use crate::{Dataset, Images, Part, Split, Splits};

/// The most bytes that one image file may have.
const MAX_FILE: u64 = 16 << 20;
/// The most pixel bytes of one part.
const MAX_BYTES: usize = 8 << 30;

/// `PATH/train/CLASS/*.jpg` and `PATH/test/CLASS/*.jpg` (`val` also serves as `test`), or
/// `PATH/CLASS/*.jpg` for one part alone; all formats of torchvision's `ImageFolder`, and GIF. Also
/// TinyImageNet, whose validation images have a list of their classes.
///
/// Classes are numbered in the order of their folders' names, images lie in the order of class
/// and file name; what is no picture is passed over. All become RGB as Pillow's
/// `Image.open(file).convert("RGB")` makes it, or gray as `convert("L")` does: an alpha channel is
/// dropped, gray of 16 bits is clipped at 255. All must be of one size. Where `SHA256SUMS` lies
/// beside the class folders, as `kd data sums` writes it, an image that it does not agree with is an
/// error.
///
/// Never counts as official: decoding, and JPEG most of all, changes what was published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Folder {
    /// The folder; a relative path begins at the data folder.
    pub path: PathBuf,
    /// 1 for gray images, 3 for RGB; without a value 1 where all files are gray.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Mean of each channel that networks normalize the images by, for pixels in `[0, 1]`; the
    /// default is that of ImageNet's training images, as torchvision's networks expect it. Gray
    /// images have the mean of the three.
    pub mean: [f32; 3],
    /// Standard deviation of each channel; the default is ImageNet's as well.
    pub std: [f32; 3],
}

impl Default for Folder {
    fn default() -> Self {
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        Self { path: PathBuf::new(), channels: None, mean, std }
    }
}

impl Dataset for Folder {
    fn load(&self, dir: Option<&Path>) -> Result<Splits> {
        let root = self.root(dir)?;
        let (train, test) = parts(&root).both(&root)?;
        let train = sums::listing(&train)?;
        train.require_pictures()?;
        let test = sums::listing(&test)?.with_classes(&train.classes)?;
        let n_channels = self.n_channels(&[&train, &test])?;
        Splits::own(images(&train, n_channels)?, images(&test, n_channels)?)
    }

    fn load_split(&self, dir: Option<&Path>, split: Split) -> Result<Images> {
        let root = self.root(dir)?;
        let listing = match (parts(&root), split) {
            (Places { train: Some(train), .. }, Split::Train) => sums::listing(&train)?,
            (Places { train, test: Some(test) }, Split::Test) => with_classes_of(train, &test)?,
            (parts, _) if parts.are_none() => sums::listing(&root)?,
            _ => {
                let hint = "this part is not there; `--split` chooses the other".into();
                let name = if split == Split::Train { "train" } else { "test" };
                return Err(Error::Missing { path: root.join(name), hint });
            }
        };
        images(&listing, self.n_channels(&[&listing])?)
    }

    fn whole(&self, dir: Option<&Path>) -> Result<Option<Part>> {
        let root = self.root(dir)?;
        if !parts(&root).are_none() {
            return Ok(None);
        }
        let listing = sums::listing(&root)?;
        listing.require_pictures()?;
        Ok(Some(images(&listing, self.n_channels(&[&listing])?)?.into()))
    }

    fn normalize(&self) -> Normalize {
        Normalize { mean: self.mean.to_vec(), std: self.std.to_vec() }
    }
}

impl Folder {
    fn root(&self, dir: Option<&Path>) -> Result<PathBuf> {
        if self.path.as_os_str().is_empty() {
            return Err(Error::config("data.path", "must name the folder of images"));
        }
        let root = dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path));
        existing(root, "it should be a folder with class folders")
    }
}

fn parts(root: &Path) -> Places {
    Places::test_first(root, |_| false)
}

/// The listing of test images, with the labels that their classes have among the training images.
fn with_classes_of(train: Option<PathBuf>, test: &Path) -> Result<Listing> {
    let listing = sums::listing(test)?;
    match train {
        Some(train) if class_folders(&train) != listing.classes => {
            listing.with_classes(&Listing::names(&train)?.classes)
        }
        _ => Ok(listing),
    }
}

impl Folder {
    /// As chosen, or as all the files have.
    fn n_channels(&self, listings: &[&Listing]) -> Result<usize> {
        match self.channels {
            Some(n @ (1 | 3)) => Ok(n),
            Some(n) => Err(Error::config("data.channels", format!("{n} is neither 1 nor 3"))),
            None if listings.iter().all(|listing| is_gray(listing)) => Ok(1),
            None => Ok(3),
        }
    }
}

/// Whether all files are gray by their headers; what cannot be read is found when it is decoded.
fn is_gray(listing: &Listing) -> bool {
    let is_gray = |i: usize| {
        let bytes = listing.bytes(i, MAX_FILE).unwrap_or_default();
        Picture::open(&bytes).map_or(true, |picture| picture.is_gray())
    };
    is_gray(0) && (0..listing.files.len()).into_par_iter().all(is_gray)
}

/// Decodes all files of a listing.
fn images(listing: &Listing, n_channels: usize) -> Result<Images> {
    let [height, width] = first_size(listing)?;
    let size = n_channels * height * width;
    let n = listing.files.len();
    let n_bytes = n.checked_mul(size).filter(|&n_bytes| n_bytes <= MAX_BYTES).ok_or_else(|| {
        let reason = format!("{n} images of {width}x{height}: at most {MAX_BYTES} bytes are read");
        Error::config(listing.folder.display().to_string(), reason)
    })?;
    let mut pixels = vec![0; n_bytes];
    let slots = pixels.par_chunks_exact_mut(size).enumerate();
    let sums: Vec<Result<String>> =
        slots.map(|(i, slot)| decode(listing, i, [height, width], slot)).collect();
    let sums = sums.into_iter().collect::<Result<Vec<String>>>()?;
    let shape = [n_channels, height, width];
    let images = Images::new(pixels, listing.labels.clone(), shape, listing.classes.len())?;
    // As `sha256sum CLASS/*` prints them.
    let line = |(i, sum): (usize, &String)| sums::line(sum, &listing.name(i));
    let images = images.with_class_names(&listing.classes).with_remarks(listing.remarks());
    Ok(images.with_files(vec![listing.identity(sums.iter().enumerate().map(line))]))
}

/// `[H, W]` of the first file.
fn first_size(listing: &Listing) -> Result<[usize; 2]> {
    let bytes = listing.bytes(0, MAX_FILE)?;
    let size = Picture::open(&bytes).map(|picture| picture.size());
    size.map_err(|reason| Error::parse(listing.path(0), reason))
}

/// Decodes file `i`, which must be of `size` = `[H, W]`, and returns its digest.
fn decode(listing: &Listing, i: usize, size: [usize; 2], slot: &mut [u8]) -> Result<String> {
    let path = &listing.path(i);
    let bytes = listing.bytes(i, MAX_FILE)?;
    let picture = Picture::open(&bytes).map_err(|reason| Error::parse(path, reason))?;
    let [height, width] = picture.size();
    if [height, width] != size {
        let reason = format!(
            "its size is {width}x{height}, that of the first {}x{}; all must have one size, or name \
             the folder photos:PATH, which takes all sizes",
            size[1], size[0]
        );
        return Err(Error::parse(path, reason));
    }
    let rgb = picture.rgb().map_err(|reason| Error::parse(path, reason))?;
    if slot.len() == height * width {
        slot.iter_mut().zip(rgb.pixels.as_chunks().0).for_each(|(to, &rgb)| *to = luminance(rgb));
        return Ok(fsx::sha256(&bytes));
    }
    let (red, rest) = slot.split_at_mut(height * width);
    let (green, blue) = rest.split_at_mut(height * width);
    for (i, [r, g, b]) in rgb.pixels.as_chunks().0.iter().enumerate() {
        (red[i], green[i], blue[i]) = (*r, *g, *b);
    }
    Ok(fsx::sha256(&bytes))
}

#[cfg(test)]
mod tests;
