//! Which 256 levels the values of an activation are rounded to.

use candle_core::Tensor;
use kd_core::Result;
use kd_core::ops::Quantize;

/// How the levels are laid over the values that calibration has seen. The levels always have one of
/// exactly 0, which convolutions pad with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Range {
    /// From the least to the greatest value.
    MinMax,
    /// As far as makes the mean of the squared rounding errors least, values beyond the ends included.
    #[default]
    Mse,
    /// Without the most extreme values, one in 10,000.
    Percentile,
}

impl Range {
    /// All, with the words that choose them.
    pub const ALL: [(&str, Self); 3] =
        [("min-max", Self::MinMax), ("mse", Self::Mse), ("percentile", Self::Percentile)];
}

/// Part of the values that a [`Range::Percentile`] keeps.
const KEPT: f64 = 0.9999;
/// A range is tried in steps of this part of the whole.
const STEP: f64 = 0.01;
/// The least part that is tried.
const LEAST: f64 = 0.2;
const N_BINS: usize = 4096;

/// Least and greatest of an activation's values, and how they lie between.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    low: f32,
    high: f32,
    counts: Vec<u64>,
}

impl Histogram {
    /// Of no values yet, but of 0.
    pub(super) fn new() -> Self {
        Self { low: 0.0, high: 0.0, counts: Vec::new() }
    }

    /// Takes notice of the ends of `values`.
    ///
    /// # Errors
    /// When candle refuses.
    pub(super) fn widen(&mut self, values: &Tensor) -> Result<()> {
        let values = values.flatten_all()?;
        self.low = self.low.min(values.min(0)?.to_scalar()?);
        self.high = self.high.max(values.max(0)?.to_scalar()?);
        Ok(())
    }

    /// Counts `values`, none of which lies beyond the ends.
    ///
    /// # Errors
    /// When candle refuses.
    pub(super) fn count(&mut self, values: &Tensor) -> Result<()> {
        self.counts.resize(N_BINS, 0);
        let per_value = N_BINS as f32 / self.width();
        for value in values.flatten_all()?.to_vec1::<f32>()? {
            let bin = ((value - self.low) * per_value) as usize;
            self.counts[bin.min(N_BINS - 1)] += 1;
        }
        Ok(())
    }

    /// The levels that `range` asks for.
    pub(super) fn levels(&self, range: Range) -> Quantize {
        match range {
            Range::MinMax => levels(self.low, self.high),
            Range::Percentile => self.percentile(),
            Range::Mse => self.least_error(),
        }
    }

    /// Whether there is more than one value.
    fn width(&self) -> f32 {
        (self.high - self.low).max(f32::MIN_POSITIVE)
    }

    /// Value in the middle of bin `i`.
    fn middle(&self, i: usize) -> f64 {
        f64::from(self.low) + f64::from(self.width()) * (i as f64 + 0.5) / N_BINS as f64
    }

    /// The part between the ends' percentiles.
    fn percentile(&self) -> Quantize {
        let total: u64 = self.counts.iter().sum();
        let left_out = ((1.0 - KEPT) * total as f64 / 2.0) as u64;
        let beyond = |(_, count): &(usize, &u64), seen: &mut u64| {
            *seen += **count;
            *seen > left_out
        };
        let (mut below, mut above) = (0, 0);
        let mut bins = self.counts.iter().enumerate();
        let first = bins.find(|bin| beyond(bin, &mut below)).map_or(0, |(i, _)| i);
        let mut bins = self.counts.iter().enumerate().rev();
        let last = bins.find(|bin| beyond(bin, &mut above)).map_or(N_BINS, |(i, _)| i);
        levels(self.middle(first).min(0.0) as f32, self.middle(last).max(0.0) as f32)
    }

    /// The part of the range, both ends drawn in alike, of the least squared error.
    fn least_error(&self) -> Quantize {
        let n_steps = ((1.0 - LEAST) / STEP) as usize;
        let part = |i: usize| (1.0 - STEP * i as f64) as f32;
        let tried = (0..=n_steps).map(|i| levels(self.low * part(i), self.high * part(i)));
        let best = tried.min_by(|a, b| self.error(a).total_cmp(&self.error(b)));
        best.unwrap_or_else(|| levels(self.low, self.high))
    }

    fn error(&self, levels: &Quantize) -> f64 {
        let (scale, zero) = (f64::from(levels.scale), f64::from(levels.zero_point));
        let of_bin = |(i, count): (usize, &u64)| {
            let x = self.middle(i);
            let level = (x / scale).round_ties_even().clamp(-zero, 255.0 - zero);
            *count as f64 * (x - level * scale).powi(2)
        };
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(of_bin).sum()
    }
}

/// 256 levels from about `low`, at most 0, to about `high`, at least 0, one of them exactly 0.
fn levels(low: f32, high: f32) -> Quantize {
    let scale = (high - low) / 255.0;
    if !scale.is_normal() {
        // Only zeros were seen.
        return Quantize::default();
    }
    let zero_point = (-low / scale).round().clamp(0.0, 255.0) as u8;
    Quantize { scale, zero_point }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn of(values: &[f32]) -> Histogram {
        let values = Tensor::new(values, &Device::Cpu).unwrap();
        let mut histogram = Histogram::new();
        histogram.widen(&values).unwrap();
        histogram.count(&values).unwrap();
        histogram
    }

    #[test]
    fn levels_have_a_zero_and_reach_the_ends() {
        let all = of(&[-1.0, 0.5, 4.1]).levels(Range::MinMax);
        assert_eq!(all, Quantize { scale: 5.1 / 255.0, zero_point: 50 });
        let positive = of(&[2.0, 2.55]).levels(Range::MinMax);
        assert_eq!(positive, Quantize { scale: 0.01, zero_point: 0 });
        assert_eq!(of(&[-2.55]).levels(Range::MinMax), Quantize { scale: 0.01, zero_point: 255 });
        assert_eq!(of(&[0.0]).levels(Range::Mse), Quantize::default());
    }

    #[test]
    fn rare_values_are_given_up_for_finer_levels() {
        let mut values: Vec<f32> = (0..40_000).map(|i| (i % 100) as f32 / 100.0).collect();
        values.push(50.0);
        let histogram = of(&values);
        let high = |range| 255.0 * histogram.levels(range).scale;
        assert!((high(Range::MinMax) - 50.0).abs() < 1e-3);
        assert!((high(Range::Percentile) - 1.0).abs() < 0.02);
        // One in 40,000 is worth its levels by the square of its distance.
        assert!(high(Range::Mse) > 20.0);
    }

    #[test]
    fn the_least_error_is_that_of_trying_all() {
        let normal = |i: usize| ((i as f32 * 0.618_034).fract() - 0.5) * 2.0;
        let values: Vec<f32> = (0..20_000).map(|i| normal(i).powi(5) * 3.0).collect();
        let histogram = of(&values);
        let best = histogram.levels(Range::Mse);
        for part in 20..=100 {
            let part = part as f32 / 100.0;
            let other = levels(histogram.low * part, histogram.high * part);
            assert!(histogram.error(&best) <= histogram.error(&other) * (1.0 + 1e-9));
        }
    }
}
