//! Whether a file has its end, where decoders do not look.

use image::ImageFormat;

use super::Fault;

/// Refuses a file that ends before it says.
pub(super) fn check(bytes: &[u8], format: ImageFormat) -> Result<(), Fault> {
    let is_whole = match format {
        ImageFormat::Png => has_png_end(bytes),
        ImageFormat::WebP => has_riff_end(bytes),
        _ => true,
    };
    if is_whole { Ok(()) } else { Err("is cut off".into()) }
}

/// Chunks are a length, a name, so many bytes, and a checksum; the last is `IEND`.
fn has_png_end(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let end = (u32::from_be_bytes(*length) as usize).saturating_add(8);
        if after.len() < end {
            return false;
        }
        if after.starts_with(b"IEND") {
            return true;
        }
        rest = &after[end..];
    }
    false
}

/// `RIFF`, and how many bytes follow.
fn has_riff_end(bytes: &[u8]) -> bool {
    let length = bytes.get(4..).and_then(|rest| rest.first_chunk());
    length.is_some_and(|&length| bytes.len() - 8 >= u32::from_le_bytes(length) as usize)
}
