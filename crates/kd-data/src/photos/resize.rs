//! Bilinear resizing of RGB bytes with antialiasing, as Pillow's, and torchvision's rules for sizes.
//!
//! fast_image_resize computes with other fixed-point numbers than Pillow: a fifth of the pixels
//! differ by one.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use kd_core::{Error, Result};

use crate::decode::Rgb;

/// Resizes the part of `rgb` at `window` = `[top, left, height, width]`, in pixels that need not
/// be whole, to `to` = `[H, W]`. Pixels outside of the window count where they are near enough, as
/// with Pillow's `resize(box=..)`.
pub(crate) fn resize(rgb: &Rgb, window: [f64; 4], to: [usize; 2]) -> Result<Vec<u8>> {
    let refused =
        |e: &dyn std::fmt::Display| Error::config("photos", format!("cannot resize: {e}"));
    let [height, width] = rgb.size.map(|side| side as u32);
    // Typed: the code for a type of pixel that is known at run time only has that for all types,
    // and takes minutes to compile.
    let from = TypedImageRef::<U8x3>::from_buffer(width, height, &rgb.pixels);
    let from = from.map_err(|e| refused(&e))?;
    let mut pixels = vec![0; 3 * to[0] * to[1]];
    let resized = TypedImage::<U8x3>::from_buffer(to[1] as u32, to[0] as u32, &mut pixels);
    let mut resized = resized.map_err(|e| refused(&e))?;
    let [top, left, height, width] = window;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(left, top, width, height);
    Resizer::new().resize_typed(&from, &mut resized, &options).map_err(|e| refused(&e))?;
    Ok(pixels)
}

/// Resizes all of `rgb` to `to` = `[H, W]`.
pub(crate) fn whole(rgb: &Rgb, to: [usize; 2]) -> Result<Rgb> {
    let [height, width] = rgb.size.map(|side| side as f64);
    Ok(Rgb { size: to, pixels: resize(rgb, [0.0, 0.0, height, width], to)? })
}

/// `[H, W]` after torchvision's `Resize(side)`: the shorter side becomes `side`, the other is
/// rounded down.
pub(crate) fn shorter_side([height, width]: [usize; 2], side: usize) -> [usize; 2] {
    if width <= height { [side * height / width, side] } else { [side, side * width / height] }
}

/// Where torchvision's `CenterCrop(n)` begins in `len` pixels: half of the rest, ties to even.
pub(crate) fn center(len: usize, n: usize) -> usize {
    let rest = len - n;
    rest / 2 + usize::from(rest % 4 == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_torchvision() {
        assert_eq!(shorter_side([375, 500], 256), [256, 341]);
        assert_eq!(shorter_side([500, 375], 256), [341, 256]);
        assert_eq!(shorter_side([333, 500], 256), [256, 384]);
        assert_eq!(shorter_side([100, 100], 256), [256, 256]);
        assert_eq!(shorter_side([1, 16_384], 256), [256, 256 * 16_384]);
        // Python's round(0.5), round(1.0), round(1.5), round(58.5), round(59.5)
        let rests = [1, 2, 3, 117, 119].map(|rest| center(rest + 10, 10));
        assert_eq!(rests, [0, 1, 2, 58, 60]);
        assert_eq!(center(224, 224), 0);
    }

    #[test]
    fn halving_is_the_mean_of_neighbors_by_hand() {
        // Bilinear with antialiasing to the half: weights 1, 3, 3, 1, without those outside.
        let gray = [0, 80, 160, 240];
        let rgb = Rgb { size: [1, 4], pixels: gray.iter().flat_map(|&v| [v; 3]).collect() };
        let half = whole(&rgb, [1, 2]).unwrap();
        // (3 x 0 + 3 x 80 + 160) / 7 and its mirror image
        assert_eq!(half.pixels, [57, 57, 57, 183, 183, 183]);
        assert_eq!(whole(&rgb, [1, 4]).unwrap(), rgb);
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        let pixels = (0..3 * 30 * 40).map(|i| (i * i % 251) as u8).collect();
        let rgb = Rgb { size: [30, 40], pixels };
        let all = whole(&rgb, [15, 20]).unwrap();
        let part = resize(&rgb, [4.0, 6.0, 20.0, 30.0], [10, 15]).unwrap();
        for (row, part) in part.chunks_exact(45).enumerate() {
            assert_eq!(part, &all.pixels[60 * (row + 2) + 9..][..45]);
        }
    }
}
