//! Picture files to RGB bytes, as Pillow's `Image.open(file).convert("RGB")` gives them, which
//! torchvision's `ImageFolder` calls.
//!
//! Key decision: a JPEG file is decoded to the same bytes as by libjpeg-turbo, which Pillow and
//! torchvision use, because networks feel the difference: decoders that round otherwise when
//! they upsample color shift a few pixels in a hundred by one or two, and a network's count of
//! right answers by several in 10,000. It is also the fastest of those tried: 1.6 ms for one of
//! 200 photographs of 0.2 million pixels and 110 kB on one core, zune-jpeg 1.95 ms, jpeg-decoder
//! 3.1 ms. Most of that reads the Huffman codes, so that leaving out what a crop does not need
//! saves next to nothing. All other formats are read by `image`.
//!
//! The format is told by a file's first bytes, since names are not reliable: ImageNet has a PNG
//! file called `.JPEG`. Sizes are read from the header and bounded before anything is decoded.
//! Of several pictures in a file the first counts.

mod gif;
mod jpeg;
mod other;
mod raster;
mod whole;

use image::ImageFormat;

/// Greatest height and width.
const MAX_SIDE: usize = 16_384;
/// Greatest height x width: above it Pillow warns of a decompression bomb. ImageNet's largest
/// photograph has 61 million pixels.
const MAX_AREA: usize = 89_478_485;

/// The reason why a file is no image that can be read.
pub(crate) type Fault = String;

/// A rectangle of whole pixels, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Region {
    /// All of an image of `size` = `[H, W]`.
    pub(crate) fn whole([height, width]: [usize; 2]) -> Self {
        Self { top: 0, left: 0, height, width }
    }
}

/// Decoded pixels.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rgb {
    /// `[H, W]`.
    pub(crate) size: [usize; 2],
    /// H x W x 3 bytes, row by row.
    pub(crate) pixels: Vec<u8>,
}

impl Rgb {
    /// Checks that a decoder kept to the size in the header.
    fn new(size: [usize; 2], pixels: Vec<u8>) -> Result<Self, Fault> {
        match pixels.len() == 3 * size[0] * size[1] {
            true => Ok(Self { size, pixels }),
            false => Err("its content is not of the size in its header".into()),
        }
    }

    /// Makes red, green and blue the luminance that Pillow's `convert("L")` gives; gray pixels stay.
    pub(crate) fn into_gray(mut self) -> Self {
        for pixel in self.pixels.as_chunks_mut::<3>().0 {
            *pixel = [luminance(*pixel); 3];
        }
        self
    }

    /// The pixels of `region`, which lies within.
    pub(crate) fn cut(self, region: Region) -> Self {
        if region == Region::whole(self.size) {
            return self;
        }
        let Region { top, left, height, width } = region;
        let mut pixels = Vec::with_capacity(3 * height * width);
        for row in self.pixels.chunks_exact(3 * self.size[1]).skip(top).take(height) {
            pixels.extend_from_slice(&row[3 * left..3 * (left + width)]);
        }
        Self { size: [height, width], pixels }
    }
}

/// An image file whose header has been read.
pub(crate) struct Picture<'a> {
    bytes: &'a [u8],
    format: Format<'a>,
    size: [usize; 2],
}

enum Format<'a> {
    Jpeg(Box<libjpeg_turbo_rs::Decoder<'a>>),
    Other(ImageFormat),
}

impl<'a> Picture<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// When the format is none of those that are read, or the size is out of bounds.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (format, size) = match format(bytes)? {
            ImageFormat::Jpeg => {
                let decoder = jpeg::open(bytes)?;
                let size = jpeg::size(&decoder);
                (Format::Jpeg(Box::new(decoder)), size)
            }
            other => (Format::Other(other), raster::size(bytes, other)?),
        };
        Ok(Self { bytes, format, size: check_size(size)? })
    }

    /// `[H, W]`, each at least 1.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Whether the file holds gray alone, by its header.
    pub(crate) fn is_gray(&self) -> bool {
        match &self.format {
            Format::Jpeg(decoder) => jpeg::is_gray(decoder),
            Format::Other(format) => raster::is_gray(self.bytes, *format).unwrap_or(false),
        }
    }

    /// Decodes to RGB; an alpha channel is dropped.
    ///
    /// # Errors
    /// When the file is damaged or cut off.
    pub(crate) fn rgb(&self) -> Result<Rgb, Fault> {
        let pixels = match &self.format {
            Format::Jpeg(decoder) => jpeg::rgb(decoder, self.bytes)?,
            Format::Other(format) => raster::rgb(self.bytes, *format)?,
        };
        Rgb::new(self.size, pixels)
    }
}

/// `0.299 R + 0.587 G + 0.114 B` in 16 bits.
pub(crate) fn luminance([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7471 * u32::from(blue);
    ((sum + 0x8000) >> 16) as u8
}

/// What can be decoded of a damaged file; the rest is black.
///
/// # Errors
/// When nothing can be decoded.
pub(crate) fn lenient(bytes: &[u8]) -> Result<Rgb, Fault> {
    match format(bytes)? {
        ImageFormat::Jpeg => jpeg::lenient(bytes),
        other => {
            let size = check_size(raster::size(bytes, other)?)?;
            Rgb::new(size, raster::lenient(bytes, other)?)
        }
    }
}

/// The format that a file's first bytes tell.
fn format(bytes: &[u8]) -> Result<ImageFormat, Fault> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    match image::guess_format(bytes) {
        Ok(format @ (Bmp | Gif | Jpeg | Png | Pnm | Tiff | WebP)) => Ok(format),
        _ => Err(other::what(bytes)),
    }
}

/// Refuses sizes out of bounds.
fn check_size([height, width]: [usize; 2]) -> Result<[usize; 2], Fault> {
    let is_side = |side| (1..=MAX_SIDE).contains(&side);
    if is_side(height) && is_side(width) && height * width <= MAX_AREA {
        return Ok([height, width]);
    }
    Err(format!(
        "its size is {width}x{height}, at most {MAX_SIDE} each and {MAX_AREA} in all are read"
    ))
}

/// The fault of a header that promises more than such a file can hold.
fn too_large([height, width]: [usize; 2], bytes: &[u8]) -> Fault {
    format!("is cut off, or damaged: {width}x{height} in {} bytes", bytes.len())
}

fn damaged(error: impl std::fmt::Display) -> Fault {
    format!("is damaged: {error}")
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
