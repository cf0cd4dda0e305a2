//! The list of exactly what a training shows: every version of every image, for a teacher that runs
//! elsewhere.

mod picture;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use kd_core::{BatchSource, Error, Result, Stream, fsx};
use rayon::prelude::*;
use serde::Serialize;

use crate::augment::{Augmenter, Window};
use crate::{Augment, Part, PhotoLoader};

/// The versions of the images of a training whose versions are numbered.
#[derive(Debug, Clone)]
pub struct Views {
    part: Part,
    shown: Shown,
    n_views: usize,
    digest: String,
}

#[derive(Debug, Clone)]
enum Shown {
    Images(Augmenter),
    Photos(PhotoLoader),
}

/// What all lines of a list have in common; its first line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListHeader {
    /// Version of the format.
    pub kd_views: u32,
    /// Of the images, their order and their versions; logits that follow the list may name it, as
    /// `kd.views` in the metadata of a safetensors file.
    pub digest: String,
    /// Versions of each image: the first axis of the logits `(views, N, K)`.
    pub n_views: usize,
    /// Images, N: the second one.
    pub n_images: usize,
    /// Classes in the order of the third one; their numbers where they have no names.
    pub classes: Vec<String>,
    /// `[C, H, W]` of what a network sees.
    pub image_shape: [usize; 3],
}

/// One version of one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListedView {
    /// Its number.
    pub view: usize,
    /// The image's.
    pub index: u32,
    /// `CLASS/FILE`, where it has a file of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The image's class.
    pub label: u32,
    /// `[top, left, height, width]` of the part that is cut out of the image first, in its pixels; what lies
    /// outside of the image is black.
    pub cut: [i64; 4],
    /// `[top, left, height, width]` of what is resized then, in pixels of the part: Pillow's
    /// `resize(size, box=..)`, which looks beyond the box where the filter is wider.
    #[serde(rename = "box")]
    pub window: [f64; 4],
    /// `[H, W]` of the result.
    pub size: [usize; 2],
    /// How it is resized: `bilinear` with antialiasing, as Pillow's, or `none`.
    pub filter: &'static str,
    /// Whether left and right are swapped at last.
    pub flip: bool,
    /// What it is mixed with, where it is: the same version of the image of this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner: Option<u32>,
    /// Its share; that of the partner is the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f32>,
}

/// Digest of the list of all versions that a training with `augment` shows of the images of `part`: of
/// names, labels, contents as far as they are known, and what is done with them. Another order, another part
/// and another size have another.
///
/// # Errors
/// [`Error::Config`] for settings that cannot be written.
pub fn list_digest(part: &Part, augment: &Augment) -> Result<String> {
    let mut text = format!("{:?} {:?}\n", part.shape(), part.class_names());
    match part {
        Part::Images(images) => text += &format!("{}\n", fsx::sha256(images.pixels())),
        Part::Photos(photos) => text += &format!("{}\n", photos.resize()),
    }
    for file in part.files() {
        text += &format!("{}\n", file.sha256);
    }
    for (i, label) in part.labels().iter().enumerate() {
        text += &format!("{label} {}\n", file_of(part, i).unwrap_or_default());
    }
    text += &serde_json::to_string(augment).map_err(|e| Error::config("augment", e.to_string()))?;
    Ok(fsx::sha256(text.as_bytes()))
}

/// `CLASS/FILE` of image `i`, where it has a file of its own.
fn file_of(part: &Part, i: usize) -> Option<String> {
    match part {
        Part::Images(_) => None,
        Part::Photos(photos) => Some(photos.name(i)),
    }
}

impl Views {
    /// Those that a training on `part` with `augment` shows, whatever its seed.
    ///
    /// # Errors
    /// [`Error::Config`] when `augment` does not suit the images, or every epoch shows other versions.
    pub fn of(part: Part, augment: &Augment) -> Result<Self> {
        let digest = list_digest(&part, augment)?;
        // Versions that are numbered do not depend on it.
        let stream = Stream::new(0);
        let (shown, n_views) = match &part {
            Part::Images(images) => {
                let augmenter = Augmenter::new(augment.clone(), images.shape(), stream)?;
                let n_views = augmenter.n_views();
                (Shown::Images(augmenter), n_views)
            }
            Part::Photos(photos) => {
                let photos = Arc::new(photos.clone());
                let loader = PhotoLoader::new(photos, augment.clone(), stream)?;
                let n_views = loader.n_views();
                (Shown::Photos(loader), n_views)
            }
        };
        let n_views = n_views.ok_or_else(|| {
            let reason = "every epoch shows other versions of the images, which cannot be listed; number \
                          them: `--views N`, in a suite `augment.resized_crop.n_views`";
            Error::config("augment", reason)
        })?;
        Ok(Self { part, shown, n_views, digest })
    }

    /// What all have in common.
    pub fn header(&self) -> ListHeader {
        let names = self.part.class_names();
        let number = |k: usize| names.get(k).map_or_else(|| k.to_string(), String::clone);
        ListHeader {
            kd_views: 1,
            digest: self.digest.clone(),
            n_views: self.n_views,
            n_images: self.part.len(),
            classes: (0..self.part.n_classes()).map(number).collect(),
            image_shape: self.part.shape(),
        }
    }

    /// Version `view` of every image, in their order.
    ///
    /// # Errors
    /// Those of a photograph whose size cannot be read.
    pub fn listed(&self, view: usize) -> Result<Vec<ListedView>> {
        let all = (0..self.part.len() as u32).into_par_iter().with_max_len(1);
        all.map(|index| self.one(view, index)).collect()
    }

    /// Writes the list of all of them to `out`: [`Views::header`], then a line of JSON for each version of
    /// each image.
    ///
    /// # Errors
    /// Those of [`Views::listed`]; [`Error::Io`].
    pub fn write_list(&self, out: &Path) -> Result<()> {
        fsx::write_atomic_with(out, |file| {
            write_line(file, out, &self.header())?;
            (0..self.n_views).try_for_each(|view| {
                self.listed(view)?.iter().try_for_each(|one| write_line(file, out, one))
            })
        })
    }

    fn one(&self, view: usize, index: u32) -> Result<ListedView> {
        let [_, height, width] = self.part.shape();
        let pair = match &self.shown {
            Shown::Images(_) => None,
            Shown::Photos(loader) => loader.pair(view as u64, index),
        };
        let (cut, window, flip, filter) = match &self.shown {
            Shown::Images(augmenter) => {
                let Window { top, left, flip } = augmenter.window_of(view);
                let cut = [top as i64, left as i64, height as i64, width as i64];
                (cut, [0.0, 0.0, height as f64, width as f64], flip, "none")
            }
            Shown::Photos(loader) => {
                let (cut, window, flip) = loader.geometry(view, index)?;
                (cut.map(|n| n as i64), window, flip, "bilinear")
            }
        };
        Ok(ListedView {
            view,
            index,
            file: file_of(&self.part, index as usize),
            label: self.part.labels()[index as usize],
            cut,
            window,
            size: [height, width],
            filter,
            flip,
            partner: pair.map(|pair| pair.partner),
            lambda: pair.map(|pair| pair.lambda),
        })
    }
}

fn write_line(file: &mut dyn Write, out: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|e| Error::config("out", e.to_string()))?;
    writeln!(file, "{text}").map_err(Error::io(out, "write"))
}

#[cfg(test)]
mod tests;
