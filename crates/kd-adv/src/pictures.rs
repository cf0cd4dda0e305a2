//! Pictures of images and of what an attack changes, as PNG.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use kd_core::{Error, Result};

use crate::evaluation::round_to_byte;

/// White pixels around every picture of a grid.
const GAP: usize = 2;
/// Pixels of a small image are enlarged until it is at least so wide.
const MIN_WIDTH: usize = 64;
/// By how much a change is enlarged.
const CHANGE: f32 = 10.0;

/// One image of `[C, H, W]` pixels in `[0, 1]`, rounded to 8 bits.
///
/// # Errors
/// [`Error::Shape`] unless it has one channel or three.
pub fn encode_png(image_shape: [usize; 3], image: &[f32]) -> Result<Vec<u8>> {
    let [channels, height, width] = check(image_shape, image.len(), 1)?;
    let bytes: Vec<u8> = (0..height * width)
        .flat_map(|at| (0..channels).map(move |c| c * height * width + at))
        .map(|at| round_to_byte(image[at]))
        .collect();
    encode(channels, width, height, &bytes)
}

/// A grid with one row an image: clean, ten times the change around gray, adversarial. `clean` and
/// `adversarial` hold as many images of `[C, H, W]` pixels in `[0, 1]`.
///
/// # Errors
/// [`Error::Shape`] unless there is an image, with one channel or three, and as many of both.
pub fn picture_grid(
    image_shape: [usize; 3],
    clean: &[f32],
    adversarial: &[f32],
) -> Result<Vec<u8>> {
    let size: usize = image_shape.iter().product();
    let n_rows = clean.len() / size.max(1);
    let [channels, height, width] = check(image_shape, clean.len(), n_rows)?;
    check(image_shape, adversarial.len(), n_rows)?;
    let scale = MIN_WIDTH.div_ceil(width);
    let step = [scale * width + GAP, scale * height + GAP];
    let mut canvas = Canvas::new(channels, 3 * step[0] + GAP, n_rows * step[1] + GAP);
    for (row, (clean, adversarial)) in clean.chunks(size).zip(adversarial.chunks(size)).enumerate()
    {
        let change: Vec<f32> =
            clean.iter().zip(adversarial).map(|(a, b)| 0.5 + CHANGE * (b - a)).collect();
        for (column, image) in [clean, &change, adversarial].into_iter().enumerate() {
            let at = [GAP + column * step[0], GAP + row * step[1]];
            canvas.draw(at, scale, [height, width], image);
        }
    }
    encode(channels, canvas.width, canvas.bytes.len() / (channels * canvas.width), &canvas.bytes)
}

/// Interleaved channels, white at first.
struct Canvas {
    channels: usize,
    width: usize,
    bytes: Vec<u8>,
}

impl Canvas {
    fn new(channels: usize, width: usize, height: usize) -> Self {
        Self { channels, width, bytes: vec![255; channels * width * height] }
    }

    /// Draws the `(C, H, W)` image, each pixel as a square of `scale`, with its corner at `[x, y]`.
    fn draw(&mut self, [left, top]: [usize; 2], scale: usize, size: [usize; 2], image: &[f32]) {
        let [height, width] = size;
        for y in 0..scale * height {
            for x in 0..scale * width {
                let to = ((top + y) * self.width + left + x) * self.channels;
                for c in 0..self.channels {
                    let from = (c * height + y / scale) * width + x / scale;
                    self.bytes[to + c] = round_to_byte(image[from].clamp(0.0, 1.0));
                }
            }
        }
    }
}

/// The shape, when `n_values` are `n` images of it.
fn check(image_shape: [usize; 3], n_values: usize, n: usize) -> Result<[usize; 3]> {
    let [channels, height, width] = image_shape;
    let is_picture = matches!(channels, 1 | 3) && height > 0 && width > 0;
    if is_picture && n > 0 && n_values == n * channels * height * width {
        return Ok(image_shape);
    }
    let expected = format!("{n} images of 1 or 3 channels");
    Err(Error::shape("pictures", expected, &[n_values, channels, height, width]))
}

fn encode(channels: usize, width: usize, height: usize, bytes: &[u8]) -> Result<Vec<u8>> {
    let size = |side: usize| {
        u32::try_from(side).map_err(|_| Error::config("pictures", "too many for one picture"))
    };
    let color = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::Adaptive)
        .write_image(bytes, size(width)?, size(height)?, color)
        .map_err(|e| Error::config("pictures", e.to_string()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use image::{ColorType, ImageFormat};

    use super::*;

    /// Color type, width, height and bytes of a PNG.
    fn decode(file: &[u8]) -> (ColorType, [u32; 2], Vec<u8>) {
        let picture = image::load_from_memory_with_format(file, ImageFormat::Png).unwrap();
        (picture.color(), [picture.width(), picture.height()], picture.into_bytes())
    }

    #[test]
    fn planes_become_colors_and_are_rounded() {
        let image = [0.0, 1.0, 0.5, 0.25, 0.9 / 255.0, 1.0 / 255.0];
        let (color, size, bytes) = decode(&encode_png([3, 1, 2], &image).unwrap());
        assert_eq!((color, size), (ColorType::Rgb8, [2, 1]));
        assert_eq!(bytes, [0, 128, 1, 255, 64, 1]);
    }

    #[test]
    fn a_grid_shows_clean_change_and_adversarial() {
        let (clean, step) = ([0.25; 4].repeat(2), 1.0 / 32.0);
        let adversarial = [0.25, 0.25 + step, 0.25 - step, 0.75].repeat(2);
        let file = picture_grid([1, 2, 2], &clean, &adversarial).unwrap();
        let (color, [width, height], bytes) = decode(&file);
        // 2 x 2 pixels, 32 times enlarged.
        assert_eq!((color, width, height), (ColorType::L8, 3 * 66 + 2, 2 * 66 + 2));
        let at = |x: usize, y: usize| bytes[y * width as usize + x];
        assert_eq!([at(0, 0), at(66, 10), at(67, 66)], [255; 3], "gaps are white");
        for row in [2, 68] {
            assert_eq!([at(2, row), at(65, row + 63)], [64; 2]);
            // 0.5, 0.5 + 10 / 32, 0.5 - 10 / 32, and more than white.
            let change = [(68, 0), (100, 0), (68, 32), (100, 32)].map(|(x, y)| at(x, row + y));
            assert_eq!(change, [128, 207, 48, 255]);
            assert_eq!([at(134, row), at(166, row), at(166, row + 32)], [64, 72, 191]);
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert!(matches!(encode_png([2, 1, 1], &[0.0; 2]), Err(Error::Shape { .. })));
        assert!(matches!(encode_png([1, 2, 2], &[0.0; 3]), Err(Error::Shape { .. })));
        assert!(matches!(picture_grid([1, 2, 2], &[], &[]), Err(Error::Shape { .. })));
        assert!(matches!(picture_grid([1, 1, 1], &[0.0; 2], &[0.0]), Err(Error::Shape { .. })));
        assert!(matches!(picture_grid([0, 0, 0], &[0.0], &[0.0]), Err(Error::Shape { .. })));
    }
}
