//! PNG files.

use std::io::Cursor;

use png::{ColorType, Decoder, Reader, Transformations};

use super::{Fault, damaged};

type Content<'a> = Cursor<&'a [u8]>;

pub(super) fn size(bytes: &[u8]) -> Result<[usize; 2], Fault> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    let (width, height) = decoder.read_header_info().map_err(damaged)?.size();
    Ok([height as usize, width as usize])
}

pub(super) fn rgb(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let (mut reader, mut pixels) = open(bytes)?;
    reader.next_frame(&mut pixels).map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    Ok(to_rgb(&pixels, reader.output_color_type().0))
}

/// The rows before the fault; the others are black.
pub(super) fn lenient(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let (mut reader, mut pixels) = open(bytes)?;
    // What is decoded stays in `pixels` when this fails.
    let _ = reader.next_frame(&mut pixels);
    Ok(to_rgb(&pixels, reader.output_color_type().0))
}

fn open(bytes: &[u8]) -> Result<(Reader<Content<'_>>, Vec<u8>), Fault> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let reader = decoder.read_info().map_err(damaged)?;
    let size = reader.output_buffer_size().ok_or("is larger than this machine's memory")?;
    Ok((reader, vec![0; size]))
}

fn to_rgb(pixels: &[u8], color: ColorType) -> Vec<u8> {
    let n_channels = color.samples();
    let rgb = |pixel: &[u8]| match pixel {
        [r, g, b, ..] => [*r, *g, *b],
        _ => [pixel[0]; 3],
    };
    pixels.chunks_exact(n_channels).flat_map(rgb).collect()
}
