//! Fractions of images, with their uncertainty.

use std::cmp::Ordering;

use kd_core::wilson;
use serde::Serialize;

use crate::document::Cell;
use crate::format::percent;
use crate::stats::Stat;

/// A fraction of images over seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// Mean and spread over seeds.
    #[serde(flatten)]
    pub over_seeds: Stat,
    /// 95 % interval of the mean: Wilson's on the images of one seed, because all seeds see the
    /// same ones; where that is wider, two standard errors over seeds.
    pub interval: [f64; 2],
}

impl Share {
    /// The fractions of `(count, total)`, one for each seed; `None` when there are none, or one is
    /// of no images.
    pub(crate) fn of(counts: impl IntoIterator<Item = (usize, usize)>) -> Option<Self> {
        let counts: Vec<_> = counts.into_iter().collect();
        let images = counts.iter().map(|(_, total)| *total).min().filter(|total| *total > 0)?;
        let fractions = counts.iter().map(|(count, total)| *count as f64 / *total as f64);
        let over_seeds = Stat::of(fractions.collect())?;
        let mean = over_seeds.mean.clamp(0.0, 1.0);
        let [low, high] = wilson((mean * images as f64).round() as usize, images);
        let spread = 2.0 * over_seeds.standard_error(0.0);
        let interval = [low.min(mean - spread).max(0.0), high.max(mean + spread).min(1.0)];
        Some(Self { over_seeds, interval })
    }

    /// The share of the other images.
    pub(crate) fn rest(&self) -> Self {
        let Stat { mean, std, n, values } = &self.over_seeds;
        let values = values.iter().map(|value| 1.0 - value).collect();
        let [low, high] = self.interval;
        let over_seeds = Stat { mean: 1.0 - mean, std: *std, n: *n, values };
        Self { over_seeds, interval: [1.0 - high, 1.0 - low] }
    }

    /// The mean over seeds.
    pub fn mean(&self) -> f64 {
        self.over_seeds.mean
    }

    /// Greater or less when the intervals do not touch, else equal.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self.interval, other.interval) {
            ([low, _], [_, high]) if low > high => Ordering::Greater,
            ([_, high], [low, _]) if high < low => Ordering::Less,
            _ => Ordering::Equal,
        }
    }

    /// `95.2 % (93.7–96.4)`.
    pub(crate) fn words(&self) -> String {
        let [mean, low, high] = [self.mean(), self.interval[0], self.interval[1]];
        format!("{:.1}\u{a0}% ({:.1}\u{2013}{:.1})", 100.0 * mean, 100.0 * low, 100.0 * high)
    }

    /// The interval, in percent.
    pub(crate) fn interval_cell(&self) -> Cell {
        let [low, high] = self.interval.map(percent);
        Cell::number(format!("{low}\u{2013}{high}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(interval: [f64; 2]) -> [u64; 2] {
        interval.map(f64::to_bits)
    }

    #[test]
    fn one_seed_has_wilsons_interval() {
        let share = Share::of([(5, 10)]).unwrap();
        assert_eq!(bits(share.interval), bits(wilson(5, 10)));
        assert_eq!(share.words(), "50.0\u{a0}% (23.7\u{2013}76.3)");
        assert!(Share::of([(1, 2), (0, 0)]).is_none() && Share::of([]).is_none());
    }

    #[test]
    fn the_spread_over_seeds_counts_where_it_is_wider() {
        let equal = Share::of([(500, 1000), (500, 1000)]).unwrap();
        assert_eq!(bits(equal.interval), bits(wilson(500, 1000)), "the images are the same");
        let [low, high] = Share::of([(400, 1000), (600, 1000)]).unwrap().interval;
        assert!(
            (low - 0.3).abs() < 1e-12 && (high - 0.7).abs() < 1e-12,
            "std 0.1414 / sqrt 2 = 0.1"
        );
        let [low, high] = Share::of([(0, 10), (10, 10)]).unwrap().interval;
        assert_eq!(bits([low, high]), bits([0.0, 1.0]));
    }

    #[test]
    fn shares_differ_when_their_intervals_do_not_touch() {
        let of = |count| Share::of([(count, 1000)]).unwrap();
        assert_eq!(of(500).compare(&of(520)), Ordering::Equal);
        assert_eq!(of(500).compare(&of(600)), Ordering::Less);
        assert_eq!(of(600).compare(&of(500)), Ordering::Greater);
    }
}
