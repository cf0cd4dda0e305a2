//! Random changes to training images.
//!
//! Key decision: an image's changes are a function of `(stream, epoch, index)` only. In memory,
//! crop and flip copy whole pixels; affine and elastic distortion are joined with them into one
//! map of coordinates, so that every pixel is interpolated at most once.

use serde::{Deserialize, Serialize};

use kd_core::ops::crop;
use kd_core::rng::Rng;
use kd_core::{Error, Result, Stream, in_range};

use crate::ResizedCrop;
use crate::mixup::Mixup;
use crate::pixels;
use crate::warp::{Elastic, Framed, Linear, Warp};

/// How training images are changed; the default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// The image is padded by this many zero pixels on each side, then a random window of the
    /// image's size is cut out; as torchvision's `RandomCrop(size, padding)`. Below the size.
    pub crop_padding: usize,
    /// Random rotation, scale, shear and translation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affine: Option<Affine>,
    /// Random elastic distortion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic: Option<Elastic>,
    /// A random part of the photograph, resized; for photographs in files only, which have none of
    /// the changes above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<ResizedCrop>,
    /// Each image is mixed with another one; for photographs in files, and soft targets alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<Mixup>,
    /// Left and right are swapped in half of the images.
    pub flip: bool,
}

/// Ranges of a random affine map around the center of the image; the default is the identity.
/// Bilinear interpolation, zero outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Affine {
    /// Rotation, uniform in +-this, degrees, in `[0, 180]`.
    pub rotation: f32,
    /// Scale, uniform between these two, in `[0.1, 10]`.
    pub scale: [f32; 2],
    /// Horizontal shear, uniform in +-this, degrees, in `[0, 60]`.
    pub shear: f32,
    /// Translation along each axis, uniform in +-this, pixels, in `[0, 1000]`.
    pub translation: f32,
}

impl Default for Affine {
    fn default() -> Self {
        Self { rotation: 0.0, scale: [1.0, 1.0], shear: 0.0, translation: 0.0 }
    }
}

impl Augment {
    /// Checks every value, for images of `[C, H, W]` in memory.
    ///
    /// # Errors
    /// [`Error::Config`] that names the value.
    pub fn check(&self, [_, height, width]: [usize; 3]) -> Result<()> {
        if self.resized_crop.is_some() {
            return Err(not_for("resized_crop", "images in memory"));
        }
        if self.mixup.is_some() {
            return Err(not_for("mixup", "images in memory"));
        }
        let side = height.min(width);
        if self.crop_padding >= side {
            let reason =
                format!("{} must be below the image's side of {side} pixels", self.crop_padding);
            return Err(Error::config("augment.crop_padding", reason));
        }
        self.affine.as_ref().map_or(Ok(()), Affine::check)?;
        self.elastic.as_ref().map_or(Ok(()), Elastic::check)
    }

    /// Checks every value, for photographs in files.
    ///
    /// # Errors
    /// [`Error::Config`] that names the value.
    pub fn check_photos(&self) -> Result<()> {
        let changes = [
            ("crop_padding", self.crop_padding > 0),
            ("affine", self.affine.is_some()),
            ("elastic", self.elastic.is_some()),
        ];
        match changes.iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => Err(not_for(field, "photographs in files")),
            None => {
                self.mixup.as_ref().map_or(Ok(()), Mixup::check)?;
                self.resized_crop.as_ref().map_or(Ok(()), ResizedCrop::check)
            }
        }
    }
}

/// This change is not made to these images.
fn not_for(field: &str, images: &str) -> Error {
    Error::config(format!("augment.{field}"), format!("is not for {images}; leave it out"))
}

impl Affine {
    fn check(&self) -> Result<()> {
        in_range("augment.affine.rotation", self.rotation, 0.0, 180.0)?;
        in_range("augment.affine.scale", self.scale[0], 0.1, 10.0)?;
        in_range("augment.affine.scale", self.scale[1], self.scale[0], 10.0)?;
        in_range("augment.affine.shear", self.shear, 0.0, 60.0)?;
        in_range("augment.affine.translation", self.translation, 0.0, 1000.0)
    }

    fn draw(&self, rng: &mut Rng) -> Linear {
        let mut about = |range: f32| rng.uniform_in(-range, range);
        let (rotation, shear) = (about(self.rotation), about(self.shear));
        let shift = [about(self.translation), about(self.translation)];
        let scale = rng.uniform_in(self.scale[0], self.scale[1]);
        Linear::inverse_of(rotation.to_radians(), scale, shear.to_radians(), shift)
    }
}

/// An [`Augment`] checked for images of one shape, with its random stream.
#[derive(Debug, Clone)]
pub(crate) struct Augmenter {
    augment: Augment,
    size: [usize; 2],
    stream: Stream,
}

/// What becomes of one image: where its window begins, and whether it is mirrored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) top: isize,
    pub(crate) left: isize,
    pub(crate) flip: bool,
}

impl Augmenter {
    pub(crate) fn new(augment: Augment, shape: [usize; 3], stream: Stream) -> Result<Self> {
        augment.check(shape)?;
        Ok(Self { augment, size: [shape[1], shape[2]], stream })
    }

    /// Changes nothing.
    pub(crate) fn none(shape: [usize; 3]) -> Self {
        let (augment, stream) = (Augment::default(), Stream::new(0));
        Self { augment, size: [shape[1], shape[2]], stream }
    }

    /// Writes the pixels of `image` as epoch `epoch` sees it; `index` is its position in the data
    /// set.
    pub(crate) fn write(&self, epoch: u64, index: u32, image: &[u8], out: &mut [f32]) {
        let mut rng = self.rng(epoch, index);
        let window = self.window(&mut rng);
        let Augment { affine, elastic, .. } = &self.augment;
        if affine.is_none() && elastic.is_none() {
            return self.copy(window, image, out);
        }
        let linear = affine.as_ref().map_or(Linear::IDENTITY, |affine| affine.draw(&mut rng));
        let field = elastic.as_ref().map(|elastic| elastic.draw(self.size, &mut rng));
        self.warp(window, &Warp { linear, field }, image, out);
    }

    fn rng(&self, epoch: u64, index: u32) -> Rng {
        self.stream.number(epoch).number(u64::from(index)).rng()
    }

    /// How many images can become of one, unless pixels are interpolated.
    pub(crate) fn n_views(&self) -> Option<usize> {
        let Augment { crop_padding, affine: None, elastic: None, flip, .. } = self.augment else {
            return None;
        };
        Some((2 * crop_padding + 1).pow(2) * (1 + usize::from(flip)))
    }

    /// The number of the one that epoch `epoch` shows.
    pub(crate) fn view(&self, epoch: u64, index: u32) -> usize {
        let Window { top, left, flip } = self.window(&mut self.rng(epoch, index));
        let padding = self.augment.crop_padding;
        let [top, left] = [top, left].map(|offset| offset.wrapping_add_unsigned(padding) as usize);
        let window = top * (2 * padding + 1) + left;
        if self.augment.flip { 2 * window + usize::from(flip) } else { window }
    }

    /// The window of version `view`, which [`Augmenter::view`] numbers.
    pub(crate) fn window_of(&self, view: usize) -> Window {
        let (padding, is_doubled) = (self.augment.crop_padding, self.augment.flip);
        let (window, flip) = if is_doubled { (view / 2, view % 2 == 1) } else { (view, false) };
        let side = 2 * padding + 1;
        let offset = |n: usize| n as isize - padding as isize;
        Window { top: offset(window / side), left: offset(window % side), flip }
    }

    /// Writes the pixels of version `view` of `image`.
    pub(crate) fn write_view(&self, view: usize, image: &[u8], out: &mut [f32]) {
        self.copy(self.window_of(view), image, out);
    }

    /// The window of the image `index` that epoch `epoch` shows, unless pixels are interpolated.
    pub(crate) fn whole_pixels(&self, epoch: u64, index: u32) -> Option<crop::Window> {
        if self.augment.affine.is_some() || self.augment.elastic.is_some() {
            return None;
        }
        let Window { top, left, flip } = self.window(&mut self.rng(epoch, index));
        Some(crop::Window { index, top: top as i32, left: left as i32, flip })
    }

    fn window(&self, rng: &mut Rng) -> Window {
        let padding = self.augment.crop_padding;
        let mut offset = || match padding {
            0 => 0,
            _ => rng.below(2 * padding as u32 + 1) as isize - padding as isize,
        };
        let (top, left) = (offset(), offset());
        Window { top, left, flip: self.augment.flip && rng.below(2) == 1 }
    }

    /// Copies whole pixels.
    fn copy(&self, window: Window, image: &[u8], out: &mut [f32]) {
        let width = self.size[1];
        let size = self.size[0] * width;
        let Window { top, left, flip } = window;
        // Moved as one piece, an image leaves its right columns at the left of the row below.
        let wrapped = match left {
            0.. => width - left as usize..width,
            _ => 0..left.unsigned_abs(),
        };
        for (from, to) in image.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
            pixels::copy(from, top * width as isize + left, to);
            if left != 0 {
                to.chunks_exact_mut(width).for_each(|row| row[wrapped.clone()].fill(0.0));
            }
            if flip {
                to.chunks_exact_mut(width).for_each(<[f32]>::reverse);
            }
        }
    }

    /// Interpolates each pixel at the place that window and warp send it to.
    fn warp(&self, window: Window, warp: &Warp, image: &[u8], out: &mut [f32]) {
        let [height, width] = self.size;
        let size = height * width;
        let framed = Framed::new(image, self.size);
        let center = [(height - 1) as f32 / 2.0, (width - 1) as f32 / 2.0];
        for (y, from_y) in (window.top..).take(height).enumerate() {
            for x in 0..width {
                let column = if window.flip { width - 1 - x } else { x };
                let from = [from_y as f32, (column as isize + window.left) as f32];
                let corner = framed.corner(warp.apply(from, center, y * width + column));
                for (c, out) in out.chunks_exact_mut(size).enumerate() {
                    out[y * width + x] = pixels::interpolated(framed.sample(c, corner));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 4;

    /// 1, 2, ... 16.
    fn image() -> Vec<u8> {
        (1..=16).collect()
    }

    fn augmenter(augment: Augment) -> Augmenter {
        Augmenter::new(augment, [1, SIZE, SIZE], Stream::new(1)).unwrap()
    }

    /// Pixels in units of bytes, rounded.
    fn bytes(write: impl FnOnce(&mut [f32])) -> Vec<i32> {
        let mut out = vec![f32::NAN; SIZE * SIZE];
        write(&mut out);
        out.iter().map(|v| (v * 255.0).round() as i32).collect()
    }

    #[test]
    fn a_crop_by_hand() {
        let none = augmenter(Augment::default());
        let copy =
            |top, left, flip| bytes(|out| none.copy(Window { top, left, flip }, &image(), out));
        assert_eq!(copy(0, 0, false), (1..=16).collect::<Vec<_>>());
        assert_eq!(copy(1, -1, false), [0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 0, 0, 0]);
        assert_eq!(copy(-2, 2, false), [0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 7, 8, 0, 0]);
        assert_eq!(copy(0, 0, true)[..8], [4, 3, 2, 1, 8, 7, 6, 5]);
        assert_eq!(copy(1, -1, true)[..4], [7, 6, 5, 0]);
    }

    #[test]
    fn padding_is_black() {
        let augmenter = Augmenter::none([2, 1, 2]);
        let mut out = [f32::NAN; 4];
        let window = Window { top: 0, left: 1, flip: false };
        augmenter.copy(window, &[0, 255, 51, 102], &mut out);
        assert_eq!(out.map(f32::to_bits), [1.0, 0.0, 0.4, 0.0_f32].map(f32::to_bits));
    }

    #[test]
    fn warping_by_a_window_equals_copying_it() {
        let none = augmenter(Augment::default());
        let identity = Warp { linear: Linear::IDENTITY, field: None };
        for (top, left, flip) in [(0, 0, false), (1, -2, false), (-1, 1, true)] {
            let window = Window { top, left, flip };
            let copied = bytes(|out| none.copy(window, &image(), out));
            let warped = bytes(|out| none.warp(window, &identity, &image(), out));
            assert_eq!(copied, warped);
        }
    }

    #[test]
    fn an_affine_map_without_ranges_is_the_identity() {
        let identity = augmenter(Augment { affine: Some(Affine::default()), ..Augment::default() });
        let got = bytes(|out| identity.write(3, 7, &image(), out));
        assert_eq!(got, (1..=16).collect::<Vec<_>>());
    }

    #[test]
    fn rotation_by_90_degrees_by_hand() {
        let none = augmenter(Augment::default());
        let linear = Linear::inverse_of(90_f32.to_radians(), 1.0, 0.0, [0.0; 2]);
        let quarter = Warp { linear, field: None };
        let window = Window { top: 0, left: 0, flip: false };
        let got = bytes(|out| none.warp(window, &quarter, &image(), out));
        // Clockwise: the left column, read upward, becomes the top row.
        assert_eq!(got, [13, 9, 5, 1, 14, 10, 6, 2, 15, 11, 7, 3, 16, 12, 8, 4]);
    }

    #[test]
    fn draws_depend_on_epoch_and_index_only() {
        let all = augmenter(Augment {
            crop_padding: 2,
            affine: Some(Affine { rotation: 10.0, ..Affine::default() }),
            elastic: Some(Elastic::default()),
            flip: true,
            ..Augment::default()
        });
        let draw = |epoch, index| bytes(|out| all.write(epoch, index, &image(), out));
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn crops_reach_every_offset_evenly_and_half_of_them_flip() {
        let crop = augmenter(Augment { crop_padding: 1, flip: true, ..Augment::default() });
        let mut counts = [0; 9];
        let mut n_flips = 0;
        for i in 0..9000 {
            let window = crop.window(&mut crop.stream.number(0).number(i).rng());
            counts[((window.top + 1) * 3 + window.left + 1) as usize] += 1;
            n_flips += i32::from(window.flip);
        }
        assert!(counts.iter().all(|&c: &i32| (c - 1000).abs() < 150), "{counts:?}");
        assert!((n_flips - 4500).abs() < 200, "{n_flips}");
    }

    #[test]
    fn views_of_equal_number_are_equal_and_others_are_not() {
        let crop = augmenter(Augment { crop_padding: 1, flip: true, ..Augment::default() });
        let mut seen = vec![None; 18];
        for epoch in 0..400 {
            let image = bytes(|out| crop.write(epoch, 7, &image(), out));
            let kept = seen[crop.view(epoch, 7)].get_or_insert(image.clone());
            assert_eq!(*kept, image);
        }
        let mut images: Vec<_> = seen.into_iter().flatten().collect();
        images.sort_unstable();
        images.dedup();
        assert_eq!((images.len(), crop.n_views()), (18, Some(18)));
        assert_eq!(augmenter(Augment::default()).n_views(), Some(1));
        let affine = Augment { affine: Some(Affine::default()), ..Augment::default() };
        assert_eq!(augmenter(affine).n_views(), None);
    }

    #[test]
    fn bad_values_are_named() {
        let check = |augment: Augment| augment.check([1, 28, 28]).unwrap_err().to_string();
        let affine = |affine| check(Augment { affine: Some(affine), ..Augment::default() });
        let elastic = |elastic| check(Augment { elastic: Some(elastic), ..Augment::default() });
        assert!(check(Augment { crop_padding: 28, ..Augment::default() }).contains("crop_padding"));
        assert!(affine(Affine { rotation: -1.0, ..Affine::default() }).contains("rotation"));
        assert!(affine(Affine { scale: [1.2, 0.8], ..Affine::default() }).contains("scale"));
        assert!(affine(Affine { shear: f32::NAN, ..Affine::default() }).contains("shear"));
        assert!(affine(Affine { translation: 1e9, ..Affine::default() }).contains("translation"));
        assert!(elastic(Elastic { sigma: 0.0, ..Elastic::default() }).contains("sigma"));
        assert!(elastic(Elastic { alpha: -1.0, ..Elastic::default() }).contains("alpha"));
        let crop = || Some(ResizedCrop::default());
        let resized = Augment { resized_crop: crop(), ..Augment::default() };
        assert!(resized.check_photos().is_ok());
        assert!(check(resized).contains("not for images in memory"));
        let padded = Augment { crop_padding: 1, resized_crop: crop(), ..Augment::default() };
        assert!(padded.check_photos().unwrap_err().to_string().contains("crop_padding"));
    }

    #[test]
    fn settings_are_read_strictly() {
        let augment: Augment =
            serde_json::from_str(r#"{"crop_padding":2,"affine":{"rotation":5.0}}"#).unwrap();
        assert_eq!(augment.crop_padding, 2);
        assert_eq!(augment.affine, Some(Affine { rotation: 5.0, ..Affine::default() }));
        assert!(serde_json::from_str::<Augment>(r#"{"crop":2}"#).is_err());
        assert!(serde_json::from_str::<Augment>(r#"{"affine":{"degrees":2}}"#).is_err());
    }
}
