//! Class folders: one folder of picture files per class, as torchvision's `ImageFolder`.
//!
//! Key decision: strict, where others skip. What is no image stops the reading and is named, so
//! that a training never runs silently on less than was meant. Images are decoded on all threads
//! into their final places, and the first fault in the order of the files is the one reported,
//! so that the result does not depend on the number of threads.

use std::path::{Path, PathBuf};

use kd_core::ops::Normalize;
use kd_core::{Error, Result, fsx};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::decode::Picture;
use crate::listing::Listing;
use crate::sums;
use crate::{Dataset, Images, Split, Splits};

/// The most bytes that one image file may have.
const MAX_FILE: u64 = 16 << 20;
/// The most pixel bytes of one part.
const MAX_BYTES: usize = 8 << 30;

/// `PATH/train/CLASS/*.jpg` and `PATH/test/CLASS/*.jpg` (`val` also serves as `test`), or
/// `PATH/CLASS/*.jpg` for one part alone; all formats of torchvision's `ImageFolder`, and GIF.
///
/// Classes are numbered in the order of their folders' names, images lie in the order of class
/// and file name; names that begin with a dot are passed over. All become RGB as Pillow's
/// `Image.open(file).convert("RGB")` makes it: an alpha channel is dropped, gray of 16 bits is
/// clipped at 255. All must be of one size. Where `SHA256SUMS` lies beside the class folders, as
/// `kd data sums` writes it, an image that it does not agree with is an error.
///
/// Never counts as official: decoding, and JPEG most of all, changes what was published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Folder {
    /// The folder; a relative path begins at the data folder.
    pub path: PathBuf,
    /// Mean of each channel that networks normalize the images by, for pixels in `[0, 1]`; the
    /// default is that of ImageNet's training images, as torchvision's networks expect it.
    pub mean: [f32; 3],
    /// Standard deviation of each channel; the default is ImageNet's as well.
    pub std: [f32; 3],
}

impl Default for Folder {
    fn default() -> Self {
        Self { path: PathBuf::new(), mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
    }
}

impl Dataset for Folder {
    fn load(&self, dir: Option<&Path>) -> Result<Splits> {
        let root = self.root(dir)?;
        let [Some(train), Some(test)] = [Split::Train, Split::Test].map(|s| place(&root, s)) else {
            let hint = "training needs two parts: put the class folders into `train` and `test`";
            return Err(Error::Missing { path: root, hint: hint.into() });
        };
        let (train, test) = (sums::listing(&train)?, sums::listing(&test)?);
        if train.classes != test.classes {
            let reason = format!("its classes are not those of {}", train.folder.display());
            return Err(Error::Parse { path: test.folder, offset: 0, reason });
        }
        let (train, test) = (images(&train)?, images(&test)?);
        if train.shape() != test.shape() {
            let got = test.shape();
            return Err(Error::shape("test images", format!("{:?}", train.shape()), &got));
        }
        Ok(Splits { train, test, official: false })
    }

    fn load_split(&self, dir: Option<&Path>, split: Split) -> Result<Images> {
        let root = self.root(dir)?;
        let parts = [Split::Train, Split::Test].map(|split| place(&root, split));
        let folder = match (parts, split) {
            ([Some(train), _], Split::Train) => train,
            ([_, Some(test)], Split::Test) => test,
            ([None, None], _) => root,
            _ => {
                let hint = "this part is not there; `--split` chooses the other".into();
                let name = if split == Split::Train { "train" } else { "test" };
                return Err(Error::Missing { path: root.join(name), hint });
            }
        };
        images(&sums::listing(&folder)?)
    }

    fn normalize(&self) -> Normalize {
        Normalize { mean: self.mean.to_vec(), std: self.std.to_vec() }
    }

    fn is_synthetic(&self) -> bool {
        false
    }
}

impl Folder {
    fn root(&self, dir: Option<&Path>) -> Result<PathBuf> {
        if self.path.as_os_str().is_empty() {
            return Err(Error::config("data.path", "must name the folder of images"));
        }
        let root = dir.map_or_else(|| self.path.clone(), |dir| dir.join(&self.path));
        if root.is_dir() {
            return Ok(root);
        }
        Err(Error::Missing { path: root, hint: "it should be a folder with class folders".into() })
    }
}

/// The folder of a part, if the parts have folders of their own.
fn place(root: &Path, split: Split) -> Option<PathBuf> {
    let names: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["test", "val"],
    };
    names.iter().map(|name| root.join(name)).find(|path| path.is_dir())
}

/// Decodes all files of a listing.
fn images(listing: &Listing) -> Result<Images> {
    let [height, width] = first_size(listing)?;
    let size = 3 * height * width;
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
    let shape = [3, height, width];
    let images = Images::new(pixels, listing.labels.clone(), shape, listing.classes.len())?;
    // As `sha256sum CLASS/*` prints them.
    let line = |(i, sum): (usize, &String)| sums::line(sum, &listing.name(i));
    let images = images.with_class_names(&listing.classes);
    Ok(images.with_files(vec![listing.identity(sums.iter().enumerate().map(line))]))
}

/// `[H, W]` of the first file.
fn first_size(listing: &Listing) -> Result<[usize; 2]> {
    let bytes = listing.bytes(0, MAX_FILE)?;
    let size = Picture::open(&bytes).map(|picture| picture.size());
    size.map_err(|reason| fault(&listing.path(0), reason))
}

/// Decodes file `i`, which must be of `size` = `[H, W]`, and returns its digest.
fn decode(listing: &Listing, i: usize, size: [usize; 2], slot: &mut [u8]) -> Result<String> {
    let path = &listing.path(i);
    let bytes = listing.bytes(i, MAX_FILE)?;
    let picture = Picture::open(&bytes).map_err(|reason| fault(path, reason))?;
    let [height, width] = picture.size();
    if [height, width] != size {
        let reason = format!(
            "its size is {width}x{height}, that of the first {}x{}; all must have one size",
            size[1], size[0]
        );
        return Err(fault(path, reason));
    }
    let rgb = picture.rgb().map_err(|reason| fault(path, reason))?;
    let (red, rest) = slot.split_at_mut(height * width);
    let (green, blue) = rest.split_at_mut(height * width);
    for (i, [r, g, b]) in rgb.pixels.as_chunks().0.iter().enumerate() {
        (red[i], green[i], blue[i]) = (*r, *g, *b);
    }
    Ok(fsx::sha256(&bytes))
}

fn fault(path: &Path, reason: String) -> Error {
    Error::Parse { path: path.into(), offset: 0, reason }
}

#[cfg(test)]
mod tests;
