//! What a network sees of an image, as a PNG file.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use kd_core::{Error, Result, fsx};
use rayon::prelude::*;

use super::{Shown, Views};
use crate::Part;

impl Views {
    /// The pixels of version `view` of image `index`, rows of one or three bytes a pixel, before they are
    /// mixed with others; nothing where the photograph is skipped.
    ///
    /// # Errors
    /// Those of a photograph that cannot be decoded.
    ///
    /// # Panics
    /// When there is no such image.
    pub fn pixels(&self, view: usize, index: u32) -> Result<Option<Vec<u8>>> {
        let [channels, height, width] = self.part.shape();
        match (&self.shown, &self.part) {
            (Shown::Images(augmenter), Part::Images(images)) => {
                let mut planes = vec![0.0; channels * height * width];
                augmenter.write_view(view, images.image(index as usize), &mut planes);
                let size = height * width;
                let pixel = |i: usize| (0..channels).map(move |c| c * size + i);
                // A byte divided by 255 and multiplied again is itself.
                let bytes = (0..size).flat_map(pixel).map(|i| (planes[i] * 255.0).round() as u8);
                Ok(Some(bytes.collect()))
            }
            (Shown::Photos(loader), _) => loader.pixels(view, index),
            (Shown::Images(_), Part::Photos(_)) => Ok(None),
        }
    }

    /// The same as a PNG file, without loss.
    ///
    /// # Errors
    /// As [`Views::pixels`]; [`Error::Config`] for images that have neither one nor three channels.
    ///
    /// # Panics
    /// As [`Views::pixels`].
    pub fn png(&self, view: usize, index: u32) -> Result<Option<Vec<u8>>> {
        let [channels, height, width] = self.part.shape();
        let color = match channels {
            1 => ExtendedColorType::L8,
            3 => ExtendedColorType::Rgb8,
            n => return Err(Error::config("pixels", format!("{n} channels make no PNG file"))),
        };
        let Some(pixels) = self.pixels(view, index)? else { return Ok(None) };
        let mut file = Cursor::new(Vec::new());
        PngEncoder::new(&mut file)
            .write_image(&pixels, width as u32, height as u32, color)
            .map_err(|e| Error::config("pixels", e.to_string()))?;
        Ok(Some(file.into_inner()))
    }

    /// Writes all of them as `FOLDER/VIEW/INDEX.png`, three and seven digits; the folder is there when all
    /// are in it. Returns how many there are, or nothing when `stop` was set.
    ///
    /// # Errors
    /// As [`Views::png`]; [`Error::Folder`] when there is such a folder; [`Error::Io`].
    pub fn write_pngs(&self, folder: &Path, stop: &AtomicBool) -> Result<Option<usize>> {
        if folder.exists() {
            let reason = "it exists; choose another one, or remove it".into();
            return Err(Error::Folder { path: folder.into(), reason });
        }
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let within = builder.prefix(".kd-pixels-").tempdir_in(parent);
        let within = within.map_err(Error::io(folder, "create"))?;
        let mut n = 0;
        for view in 0..self.n_views {
            let of_view = within.path().join(format!("{view:03}"));
            fsx::create_folder(&of_view)?;
            let images = (0..self.part.len() as u32).into_par_iter().with_max_len(1);
            let written = images.map(|index| {
                let go_on = !stop.load(Ordering::Relaxed);
                let Some(file) = go_on.then(|| self.png(view, index)).transpose()?.flatten() else {
                    return Ok(0);
                };
                let path = of_view.join(format!("{index:07}.png"));
                fs::write(&path, file).map_err(Error::io(path, "write")).map(|()| 1)
            });
            n += written.collect::<Result<Vec<_>>>()?.into_iter().sum::<usize>();
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
        }
        fs::rename(within.keep(), folder).map_err(Error::io(folder, "rename"))?;
        Ok(Some(n))
    }
}
