//! JPEG files, by libjpeg-turbo-rs.
//!
//! Strict, since a photograph that ends in gray teaches gray: what is cut off is refused. Damaged
//! files of which the rest is wanted go to another decoder, zune-jpeg, which was written to go on.

use libjpeg_turbo_rs::{ColorSpace, DecodeLimits, Decoder, PixelFormat};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace as ZuneColor;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Fault, MAX_SIDE, Rgb, check_size, damaged, too_large};

/// The largest picture that is decoded of whatever there is of a file, and pixels for each of its bytes.
const MAX_GUESSED: usize = 8 << 20;
const MAX_RATIO: usize = 1024;
/// The most scans of a progressive file; encoders write about ten.
const MAX_SCANS: usize = 100;

const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
const START_OF_SCAN: [u8; 2] = [0xff, 0xda];

pub(super) fn open(bytes: &[u8]) -> Result<Decoder<'_>, Fault> {
    let limits = DecodeLimits { max_scans: MAX_SCANS, ..DecodeLimits::default() };
    let decoder = Decoder::new_with_limits(bytes, limits).map_err(damaged)?;
    let format = match decoder.jpeg_color_space() {
        ColorSpace::Cmyk | ColorSpace::Ycck => PixelFormat::Cmyk,
        _ => PixelFormat::Rgb,
    };
    Ok(decoder.with_output_format(format).with_stop_on_warning(true))
}

pub(super) fn size(decoder: &Decoder<'_>) -> [usize; 2] {
    [decoder.header().height.into(), decoder.header().width.into()]
}

pub(super) fn is_gray(decoder: &Decoder<'_>) -> bool {
    decoder.jpeg_color_space() == ColorSpace::Grayscale
}

pub(super) fn rgb(decoder: &Decoder<'_>, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    check_end(bytes)?;
    check_area(size(decoder), bytes)?;
    check_inks(decoder)?;
    let image = decoder.decode_image().map_err(damaged)?;
    Ok(match image.pixel_format {
        PixelFormat::Cmyk => {
            image.data.as_chunks().0.iter().flat_map(|&ink| from_cmyk(ink)).collect()
        }
        _ => image.into_vec(),
    })
}

/// What can be decoded; the rest is black, as with Pillow's `LOAD_TRUNCATED_IMAGES`.
pub(super) fn lenient(bytes: &[u8]) -> Result<Rgb, Fault> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(MAX_SIDE)
        .set_max_height(MAX_SIDE)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ZuneColor::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let info = decoder.info().ok_or("is damaged: it has no header")?;
    let size = check_size([info.height.into(), info.width.into()])?;
    if size[0] * size[1] > MAX_GUESSED.max(MAX_RATIO * bytes.len()) {
        return Err(too_large(size, bytes));
    }
    Rgb::new(size, decoder.decode().map_err(damaged)?)
}

/// Refuses a header that promises more than the file can hold, before memory is taken for it: each
/// block of 8x8 pixels has a bit at least.
fn check_area([height, width]: [usize; 2], bytes: &[u8]) -> Result<(), Fault> {
    let n_blocks = height.div_ceil(8) * width.div_ceil(8);
    match n_blocks <= 8 * bytes.len() {
        true => Ok(()),
        false => Err(too_large([height, width], bytes)),
    }
}

/// Refuses four inks of unequal sizes, but for two colors of half the size between brightness and black:
/// the decoder has no planes for others, and no encoder writes them.
fn check_inks(decoder: &Decoder<'_>) -> Result<(), Fault> {
    let inks = decoder.header().components.iter();
    let inks: Vec<_> = inks.map(|i| [i.horizontal_sampling, i.vertical_sampling]).collect();
    let [first, colors @ .., last] = &inks[..] else { return Ok(()) };
    let has_colors = decoder.jpeg_color_space() == ColorSpace::Ycck;
    let fits = |color: &[u8; 2]| {
        let is_half = |axis: usize| color[axis] == first[axis] || 2 * color[axis] == first[axis];
        color == first || has_colors && is_half(0) && is_half(1)
    };
    match inks.len() < 4 || first == last && colors.iter().all(fits) {
        true => Ok(()),
        false => Err("is damaged: its inks are of sizes that do not go together".into()),
    }
}

/// In a file without its end the decoder would make up what is missing of the last blocks.
fn check_end(bytes: &[u8]) -> Result<(), Fault> {
    let last =
        bytes.windows(2).rev().find(|&marker| marker == END_OF_IMAGE || marker == START_OF_SCAN);
    // Cameras write more behind the end, in which anything may stand.
    match last == Some(&END_OF_IMAGE) || has_end(bytes) {
        true => Ok(()),
        false => Err("is cut off".into()),
    }
}

/// Whether the end is there, segment by segment: each has a marker and a length, but for scans, in
/// whose data the byte 0xff stands before 0 or the number of a restart.
fn has_end(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, marker, after @ ..] = rest {
        rest = match marker {
            0xd9 => return true,
            // A filling byte.
            0xff => &rest[1..],
            0x01 | 0xd0..=0xd8 => after,
            _ => {
                let length = after.first_chunk().map_or(0, |&length| u16::from_be_bytes(length));
                after.get(usize::from(length.max(2))..).unwrap_or_default()
            }
        };
        if *marker == START_OF_SCAN[1] {
            let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7);
            rest = rest.windows(2).position(is_marker).map_or(&[], |at| &rest[at..]);
        }
    }
    false
}

/// Inks as Photoshop writes them, 255 for none, to RGB as Pillow does.
fn from_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    [c, m, y].map(|ink| {
        let product = u32::from(255 - ink) * u32::from(k) + 128;
        k - ((product + (product >> 8)) >> 8) as u8
    })
}
