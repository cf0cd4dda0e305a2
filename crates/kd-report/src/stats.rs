//! Means over seeds, and the rule that says whether a difference from the paper is noise.

use serde::Serialize;

/// A number over seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stat {
    /// Mean of the values.
    pub mean: f64,
    /// Sample standard deviation (divisor `n - 1`); `None` for one value.
    pub std: Option<f64>,
    /// Number of values.
    pub n: usize,
    /// The values, in order of their seeds.
    pub values: Vec<f64>,
}

/// How our number stands to the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The difference is inside the noise.
    Reproduced,
    /// Ours is better by more than the noise.
    Better,
    /// Ours is worse by more than the noise.
    Worse,
    /// The two may not be compared.
    None,
}

/// Our number minus the paper's, or minus the one of another model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Our mean minus the other number; 0 inside an interval.
    pub value: f64,
    /// Two standard errors of the difference.
    pub noise: f64,
}

impl Stat {
    /// The statistics of `values`; `None` when there are none.
    pub fn of(values: Vec<f64>) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let std = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Some(Self { mean, std, n, values })
    }

    /// Standard error of the mean when a single value is uncertain by at least `floor`:
    /// `max(std, floor) / sqrt(n)`.
    pub fn standard_error(&self, floor: f64) -> f64 {
        self.std.unwrap_or(0.0).max(floor) / (self.n as f64).sqrt()
    }

    fn scaled(&self, factor: f64) -> Self {
        Self {
            mean: self.mean * factor,
            std: self.std.map(|std| std * factor),
            n: self.n,
            values: self.values.iter().map(|value| value * factor).collect(),
        }
    }
}

/// Standard error of a fraction `p` of `n` images: `sqrt(p (1 - p) / n)`.
pub fn binomial_error(p: f64, n: usize) -> f64 {
    (p * (1.0 - p) / n as f64).max(0.0).sqrt()
}

impl Difference {
    /// Compares fractions of `n_test` images with the paper's, an interval whose ends may be equal.
    ///
    /// The paper's number comes from one training: `SE_paper = sqrt(p (1 - p) / n_test)`.
    /// Ours is a mean of `k` trainings: `SE_ours = max(binomial, std over seeds) / sqrt(k)`.
    /// `noise = 2 sqrt(SE_paper^2 + SE_ours^2)`.
    pub fn of_fractions(paper: (f64, f64), ours: &Stat, n_test: usize) -> Self {
        let nearest = ours.mean.max(paper.0).min(paper.1);
        let se_paper = binomial_error(nearest, n_test);
        let se_ours = ours.standard_error(binomial_error(ours.mean, n_test));
        Self { value: ours.mean - nearest, noise: 2.0 * se_paper.hypot(se_ours) }
    }

    /// Compares the fractions of two of our models on the same `n_test` images, each with its
    /// `SE_ours`.
    pub fn between(ours: &Stat, theirs: &Stat, n_test: usize) -> Self {
        let error = |stat: &Stat| stat.standard_error(binomial_error(stat.mean, n_test));
        Self { value: ours.mean - theirs.mean, noise: 2.0 * error(ours).hypot(error(theirs)) }
    }

    /// As [`Self::of_fractions`], for counts out of `n_test` images.
    pub fn of_counts(paper: (f64, f64), ours: &Stat, n_test: usize) -> Self {
        let n = n_test as f64;
        let difference =
            Self::of_fractions((paper.0 / n, paper.1 / n), &ours.scaled(1.0 / n), n_test);
        Self { value: difference.value * n, noise: difference.noise * n }
    }

    /// `Reproduced` when `|value| <= noise`, else `Better` or `Worse`.
    pub fn verdict(self, higher_is_better: bool) -> Verdict {
        match self.value {
            value if value.abs() <= self.noise => Verdict::Reproduced,
            value if (value > 0.0) == higher_is_better => Verdict::Better,
            _ => Verdict::Worse,
        }
    }
}

/// A value of each seed.
pub(crate) fn over<T>(items: impl Iterator<Item = T>, value: &dyn Fn(T) -> f64) -> Option<Stat> {
    Stat::of(items.map(value).collect())
}

/// `None` unless every seed has the value, so that no mean is over other seeds than its neighbor.
pub(crate) fn over_some(values: impl Iterator<Item = Option<f64>>) -> Option<Stat> {
    Stat::of(values.collect::<Option<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(values: &[f64]) -> Stat {
        Stat::of(values.to_vec()).unwrap()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn statistics_by_hand() {
        let three = stat(&[1.0, 2.0, 6.0]);
        assert!(close(three.mean, 3.0));
        assert!(close(three.std.unwrap(), 7.0_f64.sqrt()), "(4 + 1 + 9) / 2 = 7");
        assert!(close(three.standard_error(0.0), (7.0_f64 / 3.0).sqrt()));
        assert!(close(three.standard_error(6.0), 6.0 / 3.0_f64.sqrt()));
        let one = stat(&[2.0]);
        assert_eq!((one.std, one.n), (None, 1));
        assert!(Stat::of(Vec::new()).is_none());
        assert!(close(binomial_error(0.5, 100), 0.05));
        assert!(close(binomial_error(1.0, 100), 0.0));
    }

    #[test]
    fn one_seed_has_the_binomial_noise_of_both() {
        let difference = Difference::of_fractions((0.5, 0.5), &stat(&[0.5]), 100);
        assert!(close(difference.value, 0.0));
        assert!(close(difference.noise, 2.0 * (2.0 * 0.05_f64.powi(2)).sqrt()));
    }

    #[test]
    fn a_spread_above_the_binomial_error_counts_and_shrinks_with_seeds() {
        let values = [0.4, 0.6, 0.4, 0.6];
        let std = stat(&values).std.unwrap();
        let difference = Difference::of_fractions((0.5, 0.5), &stat(&values), 100);
        assert!(std > 0.05 && close(difference.noise, 2.0 * 0.05_f64.hypot(std / 2.0)));
    }

    #[test]
    fn two_models_have_the_noise_of_both() {
        let difference = Difference::between(&stat(&[0.9]), &stat(&[0.5]), 100);
        assert!(
            close(difference.value, 0.4) && close(difference.noise, 2.0 * 0.03_f64.hypot(0.05))
        );
    }

    #[test]
    fn verdicts() {
        let of = |ours: f64| Difference::of_fractions((0.975, 0.975), &stat(&[ours]), 10_000);
        assert!(close(of(0.973).value, -0.002));
        assert_eq!(of(0.973).verdict(true), Verdict::Reproduced);
        assert_eq!(of(0.9644).verdict(true), Verdict::Worse);
        assert_eq!(of(0.9843).verdict(true), Verdict::Better);
        let errors = |ours: f64| Difference::of_counts((92.0, 92.0), &stat(&[ours]), 10_000);
        assert!(close(errors(120.0).value, 28.0));
        assert_eq!(errors(100.0).verdict(false), Verdict::Reproduced);
        assert_eq!(errors(130.0).verdict(false), Verdict::Worse);
        assert_eq!(errors(50.0).verdict(false), Verdict::Better);
    }

    #[test]
    fn inside_an_interval_nothing_differs() {
        let of = |ours: f64| Difference::of_fractions((0.65, 0.70), &stat(&[ours]), 1000);
        assert!(close(of(0.68).value, 0.0));
        assert!(close(of(0.80).value, 0.1) && close(of(0.60).value, -0.05));
        assert_eq!(of(0.66).verdict(true), Verdict::Reproduced);
        assert_eq!(of(0.80).verdict(true), Verdict::Better);
    }
}
