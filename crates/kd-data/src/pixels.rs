//! From bytes to pixels in `[0, 1]`: `byte / 255`.
//!
//! Key decision: where no pixel is interpolated, this is a look-up in a table of 256 numbers, so
//! that it costs as little as a copy and every pixel gets the same bits in every path. Networks
//! normalize pixels themselves.

static PIXELS: [f32; 256] = table();

const fn table() -> [f32; 256] {
    let mut table = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = interpolated(byte as f32);
        byte += 1;
    }
    table
}

/// The pixel for a whole byte.
#[inline(always)]
pub(crate) fn pixel(byte: u8) -> f32 {
    PIXELS[usize::from(byte)]
}

/// The pixel for a number between bytes, in `[0, 255]`.
#[inline(always)]
pub(crate) const fn interpolated(number: f32) -> f32 {
    number / 255.0
}

/// `to[i]` becomes the pixel for `from[i + shift]`, or a zero pixel outside of `from`.
pub(crate) fn copy(from: &[u8], shift: isize, to: &mut [f32]) {
    let (backward, shift) = (shift < 0, shift.unsigned_abs().min(to.len()));
    let n_kept = to.len() - shift;
    let (from, to, outside) = if backward {
        let (outside, inside) = to.split_at_mut(shift);
        (&from[..n_kept], inside, outside)
    } else {
        let (inside, outside) = to.split_at_mut(n_kept);
        (&from[shift..], inside, outside)
    };
    outside.fill(0.0);
    to.iter_mut().zip(from).for_each(|(to, &byte)| *to = pixel(byte));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_the_nearest_numbers_to_their_fractions() {
        for byte in 0..=255u8 {
            let want = (f64::from(byte) / 255.0) as f32;
            assert_eq!(pixel(byte).to_bits(), want.to_bits(), "{byte}");
            assert_eq!(interpolated(f32::from(byte)).to_bits(), want.to_bits(), "{byte}");
        }
    }
}
