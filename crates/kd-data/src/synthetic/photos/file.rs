//! Photographs as files, with ImageNet's oddities.
//!
//! The real set has a PNG file called `.JPEG`, some twenty CMYK files, grayscale ones,
//! progressive ones, and every kind of color subsampling; so has this one, in larger shares, so
//! that a small set has them all.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use kd_core::{Error, Result};
use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};

use super::look::Picture;

/// How a photograph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not JPEG at all.
    Png,
    /// Four inks, inverted, as Adobe's programs write them.
    Cmyk,
    Gray,
    Progressive,
    /// Color at full resolution.
    Full,
    /// Color at half the resolution: most photographs.
    Usual,
}

impl Kind {
    /// How image number `i` of a part is written: a prime period, so that no class gets more of
    /// one kind than another.
    pub(super) fn of(i: usize) -> Self {
        match i % 41 {
            5 => Self::Png,
            11 => Self::Cmyk,
            17 | 34 => Self::Gray,
            8 | 22 => Self::Progressive,
            k if k % 5 == 1 => Self::Full,
            _ => Self::Usual,
        }
    }

    /// The file's content; `quality` is libjpeg's.
    ///
    /// # Errors
    /// [`Error::Config`] when the encoder refuses the picture.
    pub(super) fn encode(self, picture: &Picture, quality: u8) -> Result<Vec<u8>> {
        let [height, width] = picture.size;
        let jpeg = |pixels: &[u8], format, subsampling| {
            Encoder::new(pixels, width, height, format)
                .quality(quality)
                .subsampling(subsampling)
                .progressive(self == Self::Progressive)
                .encode()
                .map_err(|error| refused(&error))
        };
        let (full, half) = (Subsampling::S444, Subsampling::S420);
        match self {
            Self::Png => png(picture).map_err(|error| refused(&error)),
            Self::Cmyk => jpeg(&pixels(picture, inks), PixelFormat::Cmyk, full),
            Self::Gray => jpeg(&pixels(picture, gray), PixelFormat::Grayscale, full),
            Self::Full => jpeg(&pixels(picture, rgb), PixelFormat::Rgb, full),
            Self::Progressive | Self::Usual => jpeg(&pixels(picture, rgb), PixelFormat::Rgb, half),
        }
    }
}

fn refused(error: &dyn std::fmt::Display) -> Error {
    Error::config("synthetic photographs", format!("cannot be written as files: {error}"))
}

/// Red, green, blue of each pixel in turn, as `convert` writes them.
fn pixels<const N: usize>(picture: &Picture, convert: fn([u8; 3]) -> [u8; N]) -> Vec<u8> {
    let n = picture.planes.len() / 3;
    let [red, green, blue] = std::array::from_fn(|k| &picture.planes[k * n..(k + 1) * n]);
    (0..n).flat_map(|i| convert([red[i], green[i], blue[i]])).collect()
}

fn rgb(pixel: [u8; 3]) -> [u8; 3] {
    pixel
}

/// Luminance by the weights of JPEG, in 256ths.
fn gray([r, g, b]: [u8; 3]) -> [u8; 1] {
    let [r, g, b] = [r, g, b].map(u32::from);
    [((77 * r + 150 * g + 29 * b + 128) >> 8) as u8]
}

/// Inverted cyan, magenta, yellow and black, with as much black as there can be.
fn inks(pixel: [u8; 3]) -> [u8; 4] {
    let light = pixel.into_iter().fold(0, u8::max);
    let part = |c: u8| (u32::from(c) * 255).checked_div(u32::from(light)).unwrap_or(255) as u8;
    let [r, g, b] = pixel.map(part);
    [r, g, b, light]
}

fn png(picture: &Picture) -> image::ImageResult<Vec<u8>> {
    let [height, width] = picture.size.map(|side| side as u32);
    let mut bytes = Vec::new();
    let encoder =
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive);
    encoder.write_image(&pixels(picture, rgb), width, height, ExtendedColorType::Rgb8)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 16x24 pixels of one color.
    fn plain(color: [u8; 3]) -> Picture {
        Picture { size: [16, 24], planes: color.iter().flat_map(|&c| [c; 384]).collect() }
    }

    fn decoded(bytes: &[u8]) -> Vec<u8> {
        let decoder = libjpeg_turbo_rs::Decoder::new(bytes).unwrap();
        decoder.with_output_format(PixelFormat::Rgb).decode_image().unwrap().into_vec()
    }

    #[test]
    fn a_color_comes_back_from_every_kind_of_file() {
        for kind in [Kind::Cmyk, Kind::Progressive, Kind::Full, Kind::Usual] {
            let bytes = kind.encode(&plain([200, 120, 40]), 95).unwrap();
            let near = |(got, want): (&u8, &u8)| got.abs_diff(*want) <= 3;
            let got = decoded(&bytes);
            assert_eq!(got.len(), 16 * 24 * 3);
            let all = got.chunks(3).all(|pixel| pixel.iter().zip(&[200, 120, 40]).all(near));
            assert!(all, "{kind:?}: {:?}", &got[..3]);
        }
        let got = decoded(&Kind::Gray.encode(&plain([200, 120, 40]), 95).unwrap());
        assert!(got.iter().all(|byte| byte.abs_diff(135) <= 2), "{:?}", &got[..3]);
    }

    #[test]
    fn files_are_of_their_kind() {
        let frame = |kind: Kind| {
            let bytes = kind.encode(&plain([9, 99, 199]), 90).unwrap();
            let at = bytes.windows(2).position(|w| w[0] == 0xff && [0xc0, 0xc2].contains(&w[1]));
            // Marker, length, precision, height, width, components, first component's sampling.
            at.map(|at| (bytes[at + 1], bytes[at + 9], bytes[at + 11]))
        };
        assert_eq!(frame(Kind::Usual), Some((0xc0, 3, 0x22)));
        assert_eq!(frame(Kind::Full), Some((0xc0, 3, 0x11)));
        assert_eq!(frame(Kind::Progressive), Some((0xc2, 3, 0x22)));
        assert_eq!(frame(Kind::Gray), Some((0xc0, 1, 0x11)));
        assert_eq!(frame(Kind::Cmyk), Some((0xc0, 4, 0x11)));
        let png = Kind::Png.encode(&plain([9, 99, 199]), 90).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        let cmyk = Kind::Cmyk.encode(&plain([9, 99, 199]), 90).unwrap();
        assert!(cmyk.windows(5).any(|window| window == b"Adobe"));
    }

    #[test]
    fn every_kind_is_there() {
        for kind in [Kind::Png, Kind::Cmyk, Kind::Gray, Kind::Progressive, Kind::Full, Kind::Usual]
        {
            assert!((0..41).any(|i| Kind::of(i) == kind), "{kind:?}");
        }
    }
}
