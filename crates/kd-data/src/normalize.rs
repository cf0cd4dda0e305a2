//! From bytes to the numbers that a network sees.
//!
//! Key decision: where no pixel is interpolated, normalization is a look-up in a table of 256
//! numbers per channel, so that it costs as little as a copy and every pixel gets the same bits
//! in every path.

use serde::{Deserialize, Serialize};

use kd_core::{Error, Result};

/// Per channel `(pixel / 255 - mean) / std`, mean and std in units of `[0, 1]` pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// One mean per channel.
    pub mean: Vec<f32>,
    /// One standard deviation per channel, above 0.
    pub std: Vec<f32>,
}

impl Normalize {
    /// Leaves pixels in `[0, 1]`.
    pub fn identity(n_channels: usize) -> Self {
        Self { mean: vec![0.0; n_channels], std: vec![1.0; n_channels] }
    }

    /// One table of 256 numbers per channel.
    pub(crate) fn tables(&self, n_channels: usize) -> Result<Vec<Table>> {
        if self.mean.len() != n_channels || self.std.len() != n_channels {
            let reason = format!("needs one mean and one std for each of {n_channels} channels");
            return Err(Error::config("normalize", reason));
        }
        self.mean.iter().zip(&self.std).map(|(&mean, &std)| Table::new(mean, std)).collect()
    }
}

/// The normalization of one channel.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    mean: f32,
    std: f32,
    values: [f32; 256],
}

impl Table {
    fn new(mean: f32, std: f32) -> Result<Self> {
        if !mean.is_finite() || !std.is_finite() || std <= 0.0 {
            let reason = format!("mean {mean} must be finite and std {std} finite and above 0");
            return Err(Error::config("normalize", reason));
        }
        let mut table = Self { mean, std, values: [0.0; 256] };
        table.values = std::array::from_fn(|byte| table.interpolated(byte as f32));
        Ok(table)
    }

    /// The numbers for all bytes.
    pub(crate) fn values(&self) -> &[f32; 256] {
        &self.values
    }

    /// The number for a whole pixel.
    #[inline(always)]
    pub(crate) fn value(&self, byte: u8) -> f32 {
        self.values[usize::from(byte)]
    }

    /// `to[i]` becomes the number for `from[i + shift]`, or for a zero pixel outside of `from`.
    pub(crate) fn copy(&self, from: &[u8], shift: isize, to: &mut [f32]) {
        let (backward, shift) = (shift < 0, shift.unsigned_abs().min(to.len()));
        let n_kept = to.len() - shift;
        let (from, to, outside) = if backward {
            let (outside, inside) = to.split_at_mut(shift);
            (&from[..n_kept], inside, outside)
        } else {
            let (inside, outside) = to.split_at_mut(n_kept);
            (&from[shift..], inside, outside)
        };
        outside.fill(self.value(0));
        to.iter_mut().zip(from).for_each(|(to, &byte)| *to = self.value(byte));
    }

    /// The number for a pixel between bytes, in `[0, 255]`.
    #[inline(always)]
    pub(crate) fn interpolated(&self, pixel: f32) -> f32 {
        (pixel / 255.0 - self.mean) / self.std
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_hand() {
        let normalize = Normalize { mean: vec![0.0, 0.5], std: vec![1.0, 0.25] };
        let tables = normalize.tables(2).unwrap();
        assert_eq!(tables[0].value(0).to_bits(), 0.0_f32.to_bits());
        assert_eq!(tables[0].value(255).to_bits(), 1.0_f32.to_bits());
        assert_eq!(tables[1].value(0).to_bits(), (-2.0_f32).to_bits());
        assert_eq!(tables[1].value(255).to_bits(), 2.0_f32.to_bits());
        let mnist = Normalize { mean: vec![0.1307], std: vec![0.3081] }.tables(1).unwrap();
        // (0 - 0.1307) / 0.3081 and (1 - 0.1307) / 0.3081
        assert!((mnist[0].value(0) + 0.424_213).abs() < 1e-6);
        assert!((mnist[0].value(255) - 2.821_486_6).abs() < 1e-6);
    }

    #[test]
    fn bad_settings_are_refused() {
        assert!(Normalize::identity(1).tables(3).is_err());
        for (mean, std) in [(0.0, 0.0), (0.0, -1.0), (f32::NAN, 1.0), (0.0, f32::INFINITY)] {
            assert!(Normalize { mean: vec![mean], std: vec![std] }.tables(1).is_err());
        }
    }
}
