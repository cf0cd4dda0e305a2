//! Means over seeds, and the noise of their differences.

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

/// Our number minus the one of another model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Our mean minus the other one.
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
}

/// Standard error of a fraction `p` of `n` images: `sqrt(p (1 - p) / n)`.
pub fn binomial_error(p: f64, n: usize) -> f64 {
    (p * (1.0 - p) / n as f64).max(0.0).sqrt()
}

impl Difference {
    /// Compares the fractions of two of our models on the same `n_test` images, each a mean
    /// of `k` trainings with the standard error `max(binomial, std over seeds) / sqrt(k)`.
    pub fn between(ours: &Stat, theirs: &Stat, n_test: usize) -> Self {
        let error = |stat: &Stat| stat.standard_error(binomial_error(stat.mean, n_test));
        Self { value: ours.mean - theirs.mean, noise: 2.0 * error(ours).hypot(error(theirs)) }
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
    fn two_models_have_the_noise_of_both() {
        let difference = Difference::between(&stat(&[0.9]), &stat(&[0.5]), 100);
        assert!(
            close(difference.value, 0.4) && close(difference.noise, 2.0 * 0.03_f64.hypot(0.05))
        );
    }
}
