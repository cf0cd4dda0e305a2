//! What of a GIF file's screen its first image does not cover.
//!
//! Pillow fills it with the color that the file calls transparent, else with the first; `image`
//! leaves it without color.

/// Fills the pixels around the first image, of a screen `width` pixels wide, in RGBA.
pub(super) fn fill(bytes: &[u8], width: usize, pixels: &mut [u8]) {
    let Some(Frame { color, rows, columns }) = first(bytes) else {
        return;
    };
    for (y, row) in pixels.chunks_exact_mut(4 * width).enumerate() {
        for (x, pixel) in row.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            if !rows.contains(&y) || !columns.contains(&x) {
                pixel[..3].copy_from_slice(&color);
            }
        }
    }
}

/// Where the first image is, and the color around it.
struct Frame {
    color: [u8; 3],
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
}

/// Reads what stands before the first image's pixels; none when there is no color.
fn first(bytes: &[u8]) -> Option<Frame> {
    let (palette, mut rest) = table(*bytes.get(10)?, bytes.get(13..)?)?;
    let mut transparent = 0;
    while let Some(extension) = rest.strip_prefix(b"!") {
        if let [0xf9, 4, flags, _, _, index, ..] = extension
            && flags & 1 == 1
        {
            transparent = usize::from(*index);
        }
        rest = after_blocks(extension.get(1..)?)?;
    }
    let (descriptor, rest) = rest.strip_prefix(b",")?.split_first_chunk::<9>()?;
    let [left, top, width, height] =
        [0, 2, 4, 6].map(|i| usize::from(u16::from_le_bytes([descriptor[i], descriptor[i + 1]])));
    let (own, _) = table(descriptor[8], rest)?;
    let palette = if own.is_empty() { palette } else { own };
    let color = *palette.get(3 * transparent..)?.first_chunk()?;
    Some(Frame { color, rows: top..top + height, columns: left..left + width })
}

/// The palette that `flags` announce, and what follows it.
fn table(flags: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let n_colors = if flags & 0x80 == 0 { 0 } else { 2 << (flags & 7) };
    bytes.split_at_checked(3 * n_colors)
}

/// What follows blocks of a length and so many bytes, the last of length 0.
fn after_blocks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, rest) = bytes.split_first()?;
        bytes = rest.get(length.into()..)?;
        if length == 0 {
            return Some(bytes);
        }
    }
}
