//! Every format beside JPEG, by the crate `image`, to the bytes that Pillow makes of them.
//!
//! `image` gives samples as they are in the file; Pillow's `convert("RGB")` makes bytes of them by
//! rules of its own, which are here: gray samples of 16 bits are clipped at 255, those of colors
//! keep their high byte, those of PPM and PGM files are scaled to what a byte can hold.
//!
//! Differs from Pillow: TIFF files with a palette, gray with alpha, YCbCr or samples of 32 bits
//! are refused, and where BMP files have 16 bits a pixel, or TIFF files four inks or JPEG within,
//! values may be one off.

use std::io::Cursor;

use image::codecs::pnm::PnmDecoder;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::{Fault, check_size, damaged, gif, too_large, whole};

/// The most bytes that a decoder may take; the largest picture with 16-bit alpha needs 716 MB.
const MAX_ALLOC: u64 = 1 << 30;
/// What it may take of any file, and for each of its bytes: Deflate makes at most 1032 of one.
const MIN_ALLOC: u64 = 64 << 20;
const MAX_RATIO: u64 = 4096;

/// `[H, W]` by the header.
pub(super) fn size(bytes: &[u8], format: ImageFormat) -> Result<[usize; 2], Fault> {
    Ok(open(bytes, format)?.size())
}

/// Whether the samples are gray, with alpha or without.
pub(super) fn is_gray(bytes: &[u8], format: ImageFormat) -> Result<bool, Fault> {
    let color = open(bytes, format)?.decoder.color_type();
    Ok(matches!(color, ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16))
}

/// H x W x 3 bytes.
pub(super) fn rgb(bytes: &[u8], format: ImageFormat) -> Result<Vec<u8>, Fault> {
    whole::check(bytes, format)?;
    let (samples, fault) = open(bytes, format)?.read()?;
    fault.map_or_else(|| Ok(samples.into_rgb()), Err)
}

/// What was decoded before a fault; the rest is black.
pub(super) fn lenient(bytes: &[u8], format: ImageFormat) -> Result<Vec<u8>, Fault> {
    match open(bytes, format)?.read()? {
        (samples, Some(fault)) if samples.content.iter().all(|&byte| byte == 0) => Err(fault),
        (samples, _) => Ok(samples.into_rgb()),
    }
}

/// A file whose header has been read.
struct Opened<'a> {
    bytes: &'a [u8],
    format: ImageFormat,
    decoder: Box<dyn ImageDecoder + 'a>,
}

fn open(bytes: &[u8], format: ImageFormat) -> Result<Opened<'_>, Fault> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_alloc(bytes));
    reader.limits(limits);
    Ok(Opened { bytes, format, decoder: Box::new(reader.into_decoder().map_err(fault)?) })
}

/// Bounds what a header may promise of a file of these bytes, before memory is taken for it.
fn max_alloc(bytes: &[u8]) -> u64 {
    (MAX_RATIO * bytes.len() as u64).clamp(MIN_ALLOC, MAX_ALLOC)
}

fn fault(error: ImageError) -> Fault {
    match error {
        ImageError::Unsupported(error) => format!("is not read, save it as PNG: {error}"),
        other => damaged(other),
    }
}

impl Opened<'_> {
    fn size(&self) -> [usize; 2] {
        let (width, height) = self.decoder.dimensions();
        [height as usize, width as usize]
    }

    /// The samples, and the fault that ended the reading if there was one.
    fn read(self) -> Result<(Samples, Option<Fault>), Fault> {
        let [height, width] = check_size(self.size())?;
        let color = self.decoder.color_type();
        let depth = self.depth(color)?;
        let n_bytes = height * width * usize::from(color.bytes_per_pixel());
        if n_bytes as u64 > max_alloc(self.bytes) {
            return Err(too_large([height, width], self.bytes));
        }
        let mut content = vec![0; n_bytes];
        let fault = self.decoder.read_image(&mut content).err().map(fault);
        if fault.is_some() && self.format == ImageFormat::Png && depth != Depth::Byte {
            // Where `image` meets a fault it leaves them as PNG has them, high byte first.
            content.as_chunks_mut::<2>().0.iter_mut().for_each(|pair| pair.reverse());
        }
        if self.format == ImageFormat::Gif {
            gif::fill(self.bytes, width, &mut content);
        }
        Ok((Samples { n_channels: color.channel_count().into(), depth, content }, fault))
    }

    fn depth(&self, color: ColorType) -> Result<Depth, Fault> {
        let is_deep = match color.bytes_per_pixel() / color.channel_count() {
            1 => false,
            2 => true,
            _ => return Err("is not read, save it as PNG: its samples have 32 bits".into()),
        };
        // Of one gray that counts as transparent `image` makes an alpha channel.
        let is_gray = color == ColorType::L16
            || self.format == ImageFormat::Png && self.bytes.get(25) == Some(&0);
        Ok(match self.format {
            ImageFormat::Pnm => {
                let decoder = PnmDecoder::new(Cursor::new(self.bytes)).map_err(damaged)?;
                Depth::UpTo { maximum: decoder.header().maximal_sample(), is_deep, is_gray }
            }
            _ if !is_deep => Depth::Byte,
            _ if is_gray => Depth::Clipped,
            _ => Depth::HighByte,
        })
    }
}

/// How a sample becomes a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// It is one.
    Byte,
    /// Of 16 bits, those above 255 become 255.
    Clipped,
    /// Of 16 bits, the high ones stay.
    HighByte,
    /// `image` has scaled it from 0 ..= `maximum` to all that 8 or 16 bits can hold.
    UpTo { maximum: u32, is_deep: bool, is_gray: bool },
}

impl Depth {
    fn byte(self, sample: u16) -> u8 {
        match self {
            Self::Byte | Self::Clipped => sample.min(255) as u8,
            Self::HighByte => (sample >> 8) as u8,
            Self::UpTo { maximum, is_deep, is_gray } => {
                let maximum = f64::from(maximum);
                let scaled_to = if is_deep { 65535.0 } else { 255.0 };
                let original = (f64::from(sample) * maximum / scaled_to).round();
                // Pillow's integers, which deep grays become first, are clipped afterwards.
                let scale = if is_deep && is_gray { 65535.0 } else { 255.0 };
                (original / maximum * scale).round_ties_even() as u8
            }
        }
    }

    fn is_deep(self) -> bool {
        match self {
            Self::Byte => false,
            Self::Clipped | Self::HighByte => true,
            Self::UpTo { is_deep, .. } => is_deep,
        }
    }
}

/// Pixels of one to four channels, in this machine's byte order.
struct Samples {
    n_channels: usize,
    depth: Depth,
    content: Vec<u8>,
}

impl Samples {
    /// Red, green and blue of each pixel; alpha is dropped.
    fn into_rgb(self) -> Vec<u8> {
        let n_channels = self.n_channels;
        let bytes = self.into_bytes();
        let rgb = |pixel: &[u8]| match pixel {
            [red, green, blue, ..] => [*red, *green, *blue],
            _ => [pixel[0]; 3],
        };
        match n_channels {
            3 => bytes,
            _ => bytes.chunks_exact(n_channels).flat_map(rgb).collect(),
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        let Self { depth, content, .. } = self;
        if depth == Depth::Byte {
            return content;
        }
        if depth.is_deep() {
            let samples = content.as_chunks().0.iter().map(|&pair| u16::from_ne_bytes(pair));
            return samples.map(|sample| depth.byte(sample)).collect();
        }
        content.into_iter().map(|sample| depth.byte(sample.into())).collect()
    }
}
