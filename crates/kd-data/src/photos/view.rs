//! Which part of a photograph is seen.

use kd_core::Result;

use super::resize::{center, resize, shorter_side};
use crate::decode::{Region, Rgb};

/// A part of a photograph that becomes a square image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    /// The pixels that count.
    pub(super) region: Region,
    /// `[top, left, height, width]` of the part, in pixels of the region.
    pub(super) window: [f64; 4],
    /// Whether left and right are swapped.
    pub(super) flip: bool,
}

impl View {
    /// A part that is cut out first, then resized: what lies around it does not count.
    pub(super) fn cut(region: Region, flip: bool) -> Self {
        let window = [0.0, 0.0, region.height as f64, region.width as f64];
        Self { region, window, flip }
    }

    /// The central square of side `crop` after the shorter side has become `resize`; of the
    /// resized image only this square is computed.
    pub(super) fn center(size: [usize; 2], resize: usize, crop: usize, flip: bool) -> Self {
        let resized = shorter_side(size, resize);
        let [rows, columns] = [0, 1].map(|axis| span(size[axis], resized[axis], crop));
        let window = [rows.0, columns.0, rows.1, columns.1];
        Self { region: Region::whole(size), window, flip }
    }

    /// The image of `side` x `side` x 3 bytes, not yet flipped.
    pub(super) fn image(&self, rgb: Rgb, side: usize) -> Result<Vec<u8>> {
        resize(&rgb.cut(self.region), self.window, [side, side])
    }
}

/// Begin and length of what becomes the `n` central pixels when `len` become `resized`.
fn span(len: usize, resized: usize, n: usize) -> (f64, f64) {
    let scale = len as f64 / resized as f64;
    let first = center(resized, n) as f64 * scale;
    // Rounding must not lead out of the image.
    (first, (n as f64 * scale).min(len as f64 - first))
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
            let got = view.image(rgb, crop).unwrap();
            assert_eq!(got, want.pixels, "{size:?}");
        }
    }
}
