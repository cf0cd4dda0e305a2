//! JPEG and PNG to RGB bytes.
//!
//! Key decision: a JPEG file is decoded to the same bytes as by libjpeg-turbo, which Pillow and
//! torchvision use, because networks feel the difference: decoders that round otherwise when
//! they upsample color shift a few pixels in a hundred by one or two, and a network's count of
//! right answers by several in 10,000.
//!
//! The format is told by a file's first bytes, since names are not reliable: ImageNet has a PNG
//! file called `.JPEG`. Sizes are read from the header and bounded before anything is decoded.

use std::io::Cursor;

/// Greatest height and width.
const MAX_SIDE: usize = 4096;

/// An image file whose header has been read.
pub(super) struct Picture {
    bytes: Vec<u8>,
    format: Format,
    size: [usize; 2],
}

#[derive(Clone, Copy)]
enum Format {
    Jpeg,
    Png,
}

/// The reason why a file is no image that can be read.
type Fault = String;

impl Picture {
    /// Reads the header.
    ///
    /// # Errors
    /// When this is neither JPEG nor PNG, or its size is out of bounds.
    pub(super) fn open(bytes: Vec<u8>) -> Result<Self, Fault> {
        let (format, [height, width]) = if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
            (Format::Jpeg, jpeg_size(&bytes)?)
        } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            (Format::Png, png_size(&bytes)?)
        } else {
            return Err("is neither a JPEG nor a PNG file".into());
        };
        if !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
            return Err(format!("its size is {width}x{height}, at most {MAX_SIDE} each are read"));
        }
        Ok(Self { bytes, format, size: [height, width] })
    }

    /// `[H, W]`, each at least 1.
    pub(super) fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Decodes to H x W x 3 bytes; an alpha channel is dropped.
    ///
    /// # Errors
    /// When the file is damaged or cut off.
    pub(super) fn rgb(&self) -> Result<Vec<u8>, Fault> {
        let rgb = match self.format {
            Format::Jpeg => jpeg_rgb(&self.bytes)?,
            Format::Png => png_rgb(&self.bytes)?,
        };
        match rgb.len() == 3 * self.size[0] * self.size[1] {
            true => Ok(rgb),
            false => Err("its content is not of the size in its header".into()),
        }
    }
}

fn damaged(error: impl std::fmt::Display) -> Fault {
    format!("is damaged: {error}")
}

fn jpeg_size(bytes: &[u8]) -> Result<[usize; 2], Fault> {
    let info = libjpeg_turbo_rs::probe(bytes).map_err(damaged)?;
    Ok([info.height, info.width])
}

fn jpeg_rgb(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    // In a file without its end the decoder would make up what is missing of the last blocks.
    if !bytes.windows(2).rev().any(|marker| marker == [0xff, 0xd9]) {
        return Err("is cut off".into());
    }
    let decoder = libjpeg_turbo_rs::Decoder::new(bytes).map_err(damaged)?;
    let decoder = decoder.with_output_format(libjpeg_turbo_rs::PixelFormat::Rgb);
    let image = decoder.with_stop_on_warning(true).decode_image().map_err(damaged)?;
    Ok(image.into_vec())
}

fn png_size(bytes: &[u8]) -> Result<[usize; 2], Fault> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    let (width, height) = decoder.read_header_info().map_err(damaged)?.size();
    Ok([height as usize, width as usize])
}

fn png_rgb(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let size = reader.output_buffer_size().ok_or("is larger than this machine's memory")?;
    let mut pixels = vec![0; size];
    reader.next_frame(&mut pixels).map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    Ok(to_rgb(&pixels, reader.output_color_type().0))
}

fn to_rgb(pixels: &[u8], color: png::ColorType) -> Vec<u8> {
    let n_channels = color.samples();
    let rgb = |pixel: &[u8]| match pixel {
        [r, g, b, ..] => [*r, *g, *b],
        _ => [pixel[0]; 3],
    };
    pixels.chunks_exact(n_channels).flat_map(rgb).collect()
}
