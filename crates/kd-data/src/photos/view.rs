//! Which part of a photograph is seen.

use kd_core::Result;

use super::resize::{center, resize, shorter_side};
use crate::decode::{Region, Rgb};

/// A part of a photograph that becomes a square image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    /// The pixels that are needed.
    pub(super) region: Region,
    /// `[top, left, height, width]` of the part, in pixels of the region.
    window: [f64; 4],
    /// Whether left and right are swapped.
    pub(super) flip: bool,
}

impl View {
    /// A part that is cut out first, then resized: what lies around it does not count.
    pub(super) fn cut(region: Region, flip: bool) -> Self {
        let window = [0.0, 0.0, region.height as f64, region.width as f64];
        Self { region, window, flip }
    }

    /// The central square of side `crop` after the shorter side has become `resize`.
    ///
    /// Of the resized image only this square is computed, and only the pixels that it is mixed
    /// from are decoded.
    pub(super) fn center(size: [usize; 2], resize: usize, crop: usize, flip: bool) -> Self {
        let resized = shorter_side(size, resize);
        let [rows, columns] = [0, 1].map(|axis| Span::new(size[axis], resized[axis], crop));
        let region =
            Region { top: rows.begin, left: columns.begin, height: rows.len, width: columns.len };
        let window = [rows.window.0, columns.window.0, rows.window.1, columns.window.1];
        Self { region, window, flip }
    }

    /// The image of `side` x `side` x 3 bytes, not yet flipped, from the pixels of the region.
    pub(super) fn image(&self, rgb: &Rgb, side: usize) -> Result<Vec<u8>> {
        resize(rgb, self.window, [side, side])
    }
}

/// The pixels of one axis that `n` central pixels of the resized axis are mixed from.
struct Span {
    begin: usize,
    len: usize,
    /// Begin, from `begin`, and length of what becomes the `n` pixels.
    window: (f64, f64),
}

impl Span {
    fn new(len: usize, resized: usize, n: usize) -> Self {
        let scale = len as f64 / resized as f64;
        let first = center(resized, n) as f64 * scale;
        let last = first + n as f64 * scale;
        // Half a pixel of the resized axis would do, and one for rounding.
        let reach = scale.max(1.0) + 1.0;
        let begin = (first - reach).max(0.0) as usize;
        let end = ((last + reach) as usize).min(len);
        let offset = first - begin as f64;
        let window = (offset, (n as f64 * scale).min((end - begin) as f64 - offset));
        Self { begin, len: end - begin, window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::photos::resize::whole;

    #[test]
    fn the_center_is_cut_out_of_the_resized_image() {
        for (size, resize, crop) in [
            ([375, 500], 256, 224),
            ([500, 333], 256, 224),
            ([40, 30], 256, 224),
            ([64, 64], 64, 64),
            ([1, 9], 8, 8),
            ([700, 91], 72, 64),
        ] {
            let [height, width] = size;
            let pixels = (0..3 * height * width).map(|i| (i * 7 % 253) as u8).collect();
            let rgb = Rgb { size, pixels };
            let resized = whole(&rgb, shorter_side(size, resize)).unwrap();
            let [top, left] = resized.size.map(|side| center(side, crop));
            let want = resized.cut(Region { top, left, height: crop, width: crop });
            let view = View::center(size, resize, crop, false);
            let got = view.image(&rgb.cut(view.region), crop).unwrap();
            assert_eq!(got, want.pixels, "{size:?}");
        }
    }

    #[test]
    fn only_what_is_needed_is_decoded() {
        let Region { top, left, height, width } = View::center([375, 500], 256, 224, false).region;
        // 224 of 256 rows of 375 are 328.1, and 224 of 341 columns of 500 are 328.4.
        assert!(top > 18 && height < 336 && left > 80 && width < 336);
    }
}
