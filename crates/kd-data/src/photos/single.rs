//! One photograph, without a data set around it.

use std::path::Path;

use kd_core::{Error, Result, fsx};

use super::loader::planes;
use super::view::View;
use crate::decode::Picture;
use crate::listing::MAX_IMAGE;

/// The photograph in the file `path` as a network for images of `shape`, `[C, H, W]`, sees it: planes of
/// pixels in `[0, 1]`.
///
/// One of just this size is taken as it is. Of others, the shorter side becomes `resize`, and the
/// central square is cut out, as for [`super::Photos`]; without `resize` that is 8/7 of the square, as
/// for ImageNet.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`]; [`Error::Parse`] for what cannot be decoded; [`Error::Config`] when
/// the images of the network are not square, and neither gray nor RGB.
pub fn photograph(
    path: &Path,
    shape @ [channels, height, width]: [usize; 3],
    resize: Option<usize>,
) -> Result<Vec<f32>> {
    if !matches!(channels, 1 | 3) || height != width {
        let reason =
            format!("the network takes images of {shape:?}, not square ones of gray or RGB");
        return Err(Error::config("images", reason));
    }
    let bytes = fsx::read_bounded(path, MAX_IMAGE, "give a picture")?;
    let fault = |reason| Error::parse(path, reason);
    let mut rgb = Picture::open(&bytes).and_then(|picture| picture.rgb()).map_err(fault)?;
    if channels == 1 {
        rgb = rgb.into_gray();
    }
    let image = match rgb.size == [height, width] {
        true => rgb.pixels,
        false => {
            let resize = resize.unwrap_or_else(|| usual_resize(height)).max(height);
            View::center(rgb.size, resize, height, false).image(rgb, height)?
        }
    };
    let mut pixels = vec![0.0; channels * height * width];
    planes(&image, height, false, &mut pixels);
    Ok(pixels)
}

/// Pixels of the shorter side of a photograph of which the central square of side `crop` is cut out: as
/// ImageNet's 256 is to 224.
pub(crate) fn usual_resize(crop: usize) -> usize {
    (8 * crop).div_ceil(7)
}

/// The pictures in `folder` and below it, by the ends of their names, in the order of their paths.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be read.
pub fn pictures_in(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder, "list"))? {
            let entry = entry.map_err(Error::io(&folder, "list"))?;
            let (path, kind) =
                (entry.path(), entry.file_type().map_err(Error::io(&folder, "list"))?);
            if kind.is_dir() {
                folders.push(path);
            } else if crate::listing::is_picture(&entry.file_name().to_string_lossy()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use kd_core::BatchSource;

    use super::*;
    use crate::{Dataset, PhotoLoader, Photos, SyntheticPhotos};

    #[test]
    fn a_photograph_alone_has_the_pixels_that_evaluation_sees() {
        let folder = tempfile::tempdir().unwrap();
        let drawn = SyntheticPhotos { n_classes: 2, n_train: 6, n_test: 4, ..Default::default() };
        drawn.parts(Some(folder.path())).unwrap();
        let root =
            fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path().join("train");
        let files = pictures_in(&root).unwrap();
        assert_eq!(files.len(), 6);
        for channels in [3, 1] {
            let photos = Photos::folder(&root).unwrap().with_size(40, 32).unwrap();
            let photos = photos.with_channels(channels).unwrap();
            let loader = PhotoLoader::in_order(Arc::new(photos));
            let images = loader.batch(0, &[0, 1, 2, 3, 4, 5]).unwrap().images;
            let want = images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let alone = |path| photograph(path, [channels, 32, 32], Some(40)).unwrap();
            let got: Vec<f32> = files.iter().flat_map(|path| alone(path)).collect();
            assert_eq!(got, want);
        }
        let error = photograph(&root.join("nothing.png"), [3, 32, 32], None).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }));
        let error = photograph(&files[0], [3, 32, 48], None).unwrap_err().to_string();
        assert!(error.contains("[3, 32, 48]"), "{error}");
    }

    #[test]
    fn a_picture_of_the_networks_size_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let image = image::RgbImage::from_fn(4, 4, |x, y| image::Rgb([x as u8, y as u8, 255]));
        image.save(&path).unwrap();
        let pixels = photograph(&path, [3, 4, 4], Some(9)).unwrap();
        let red = (0..16).map(|i| (i % 4) as f32 / 255.0);
        assert_eq!(pixels[..16], red.collect::<Vec<_>>());
        assert_eq!(pixels[32..], [1.0; 16]);
    }
}
