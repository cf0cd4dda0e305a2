//! Differences over the same seeds, and what many comparisons do to them.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Error that a comparison, or all of a family together, may have.
pub(crate) const ALPHA: f64 = 0.05;

/// Values that belong together in pairs, such as the accuracies of two methods with the same seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Paired {
    /// Mean of the differences.
    pub mean: f64,
    /// Their standard deviation, but at least that of rounding: the sample's (divisor `n - 1`), or, among several
    /// methods with the same seeds, that which they share.
    pub std: f64,
    /// Number of pairs.
    pub n: usize,
    /// Half of the 95 % interval about the mean: `t s / sqrt(n)`, t being the 0.975 quantile of Student's
    /// distribution of the degrees of freedom that the standard deviation has.
    pub half_width: f64,
    /// Two-sided p-value of Student's test of no difference.
    pub p: f64,
}

/// What is said of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// More than nothing, by more than the noise.
    Better,
    /// Less than nothing, by more than the noise.
    Worse,
    /// Either may be.
    Open,
}

/// A difference, as one of several that were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Effect {
    /// The difference.
    #[serde(flatten)]
    pub paired: Paired,
    /// Its p-value after Holm's correction.
    pub p_holm: f64,
    /// What that means, at 5 % for all together.
    pub told: Told,
}

impl Paired {
    /// `ours` minus `theirs`, pair by pair; nothing for fewer than two pairs. `step` is the smallest
    /// difference that two values can have, 1 / images for accuracies: two seeds that by chance differ by
    /// the same number of images do not differ without noise.
    pub fn of(ours: &[f64], theirs: &[f64], step: f64) -> Option<Self> {
        let n = ours.len().min(theirs.len());
        let freedom = n.checked_sub(1).filter(|freedom| *freedom > 0)?;
        let differences = || ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs);
        let mean = differences().sum::<f64>() / n as f64;
        let squares = differences().map(|d| (d - mean).powi(2)).sum::<f64>();
        // Each of two values is rounded by up to half a step: a variance of step^2 / 12 each.
        let rounding = step / 6f64.sqrt();
        let std = (squares / freedom as f64).sqrt().max(rounding);
        Self::new(mean, std, n, freedom as f64)
    }

    /// A mean of `n` differences whose standard deviation has so many degrees of freedom.
    pub(crate) fn new(mean: f64, std: f64, n: usize, freedom: f64) -> Option<Self> {
        let law = StudentsT::new(0.0, 1.0, freedom).ok()?;
        let error = std / (n as f64).sqrt();
        let p = match mean.abs() > 0.0 {
            true => 2.0 * law.sf(mean.abs() / error),
            false => 1.0,
        };
        Some(Self { mean, std, n, half_width: law.inverse_cdf(1.0 - ALPHA / 2.0) * error, p })
    }
}

/// The quantile of Student's distribution of so many degrees of freedom.
pub(crate) fn student(freedom: f64, quantile: f64) -> Option<f64> {
    Some(StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(quantile))
}

/// All differences that were looked at, corrected for their number.
pub(crate) fn effects(all: &[Paired]) -> Vec<Effect> {
    let corrected = holm(&all.iter().map(|paired| paired.p).collect::<Vec<_>>());
    let effect = |(paired, p_holm): (&Paired, f64)| {
        let told = match p_holm < ALPHA {
            true if paired.mean > 0.0 => Told::Better,
            true => Told::Worse,
            false => Told::Open,
        };
        Effect { paired: *paired, p_holm, told }
    };
    all.iter().zip(corrected).map(effect).collect()
}

/// The same where some have no difference, which are not counted.
pub(crate) fn known_effects(all: &[Option<Paired>]) -> Vec<Option<Effect>> {
    let known: Vec<Paired> = all.iter().copied().flatten().collect();
    let mut effects = effects(&known).into_iter();
    all.iter().map(|paired| paired.and_then(|_| effects.next())).collect()
}

/// Holm's correction of p-values (Holm 1979): the i-th smallest of m times `m - i + 1`, but no less than
/// the one before and no more than 1. The chance that any of those below 5 % is there without a difference
/// is at most 5 %.
pub(crate) fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![1.0; p.len()];
    let mut before = 0f64;
    for (i, &place) in order.iter().enumerate() {
        before = before.max(((p.len() - i) as f64 * p[place]).min(1.0));
        corrected[place] = before;
    }
    corrected
}

impl Told {
    /// The verdict in words, with a sign that needs no color.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Better => "\u{25b2} better",
            Self::Worse => "\u{25bc} worse",
            Self::Open => "\u{2248} cannot be told",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-9 * want.abs().max(1.0), "{got}, want {want}");
    }

    /// Differences 1, 2, 6: mean 3, variance 7. With two degrees of freedom Student's distribution is
    /// `1/2 + t / (2 sqrt(2 + t^2))`: t = 3 / sqrt(7 / 3), t^2 = 27 / 7, p = 1 - t / sqrt(2 + t^2)
    /// = 1 - sqrt(27 / 41).
    #[test]
    fn three_pairs_by_hand() {
        let paired = Paired::of(&[2.0, 4.0, 9.0], &[1.0, 2.0, 3.0], 0.0).unwrap();
        close(paired.mean, 3.0);
        close(paired.std, 7f64.sqrt());
        close(paired.p, 1.0 - (27.0f64 / 41.0).sqrt());
        // The quantile q of 0.975 has 0.95 = q / sqrt(2 + q^2).
        let quantile = (2.0 * 0.95f64.powi(2) / (1.0 - 0.95f64.powi(2))).sqrt();
        close(paired.half_width, quantile * (7.0f64 / 3.0).sqrt());
        let mirrored = Paired::of(&[1.0, 2.0, 3.0], &[2.0, 4.0, 9.0], 0.0).unwrap();
        assert_eq!((mirrored.mean, mirrored.p), (-paired.mean, paired.p));
    }

    #[test]
    fn equal_differences_keep_the_noise_of_rounding() {
        let paired = Paired::of(&[0.6, 0.7], &[0.59, 0.69], 1e-4).unwrap();
        close(paired.std, 1e-4 / 6f64.sqrt());
        assert!(paired.p > 0.001, "{}", paired.p);
        let none = Paired::of(&[0.6, 0.7], &[0.6, 0.7], 1e-4).unwrap();
        assert_eq!((none.mean, none.p), (0.0, 1.0));
        assert!(Paired::of(&[0.6], &[0.5], 1e-4).is_none() && Paired::of(&[], &[], 1.0).is_none());
    }

    #[test]
    fn holm_by_hand() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (got, want) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(*got, want);
        }
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn a_verdict_needs_what_is_left_after_the_correction() {
        let of = |p, mean| Paired { mean, std: 1.0, n: 3, half_width: 1.0, p };
        let told =
            |all: &[Paired]| effects(all).iter().map(|effect| effect.told).collect::<Vec<_>>();
        assert_eq!(told(&[of(0.03, 1.0)]), [Told::Better]);
        assert_eq!(told(&[of(0.03, 1.0), of(0.01, -1.0)]), [Told::Better, Told::Worse]);
        assert_eq!(told(&[of(0.03, 1.0), of(0.03, -1.0)]), [Told::Open; 2]);
    }
}
