//! What a difference from the paper's number means.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::paired::{ALPHA, holm};
use crate::stats::binomial_error;

/// How our number stands to the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No difference is shown, and one that matters is ruled out.
    Reproduced,
    /// Ours is better by more than the noise.
    Better,
    /// Ours is worse by more than the noise.
    Worse,
    /// Ours is another one, which is neither better nor worse, by more than the noise.
    Differs,
    /// Neither a difference is shown nor one that matters ruled out.
    Open,
    /// The two may not be compared.
    None,
}

/// How uncertain the number of a single training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Noise {
    /// Standard deviation.
    pub(crate) std: f64,
    /// Degrees of freedom of its estimate; none where it is known.
    df: Option<f64>,
}

impl Noise {
    /// The larger of the binomial error of `n_test` images, of which a fraction `p` is counted, and the
    /// spread over seeds.
    pub(crate) fn new(p: f64, n_test: usize, seeds: Option<Self>) -> Self {
        let binomial = Self { std: binomial_error(p, n_test), df: None };
        seeds.filter(|seeds| seeds.std > binomial.std).unwrap_or(binomial)
    }

    /// In another unit.
    pub(crate) fn over(self, unit: f64) -> Self {
        Self { std: self.std / unit, ..self }
    }

    /// The spread over seeds that several models have in common: the root of the mean of their variances,
    /// each weighted with its degrees of freedom. Nothing for one seed.
    pub(crate) fn pooled<'a>(all: impl Iterator<Item = &'a [f64]>) -> Option<Self> {
        let (mut squares, mut df) = (0.0, 0.0);
        for values in all {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            squares += values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            df += values.len() as f64 - 1.0;
        }
        (df > 0.0).then(|| Self { std: (squares / df).sqrt(), df: Some(df) })
    }

    /// That much of Student's distribution, or of the normal one where the noise is known, is above the answer.
    pub(crate) fn upper(self, share: f64) -> Option<f64> {
        match self.df {
            Some(df) => Some(StudentsT::new(0.0, 1.0, df).ok()?.inverse_cdf(1.0 - share)),
            None => Some(Normal::standard().inverse_cdf(1.0 - share)),
        }
    }

    /// Chance of a value at least as far from zero as `z` standard errors.
    fn two_sided(self, z: f64) -> Option<f64> {
        match self.df {
            Some(df) => Some(2.0 * StudentsT::new(0.0, 1.0, df).ok()?.sf(z.abs())),
            None => Some(2.0 * Normal::standard().sf(z.abs())),
        }
    }
}

/// A difference of fractions, better being positive, and its noise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Test {
    /// Ours minus the paper's.
    pub(crate) value: f64,
    /// Its standard error.
    pub(crate) error: f64,
    /// That of a single training.
    pub(crate) noise: Noise,
    /// The least difference that matters.
    pub(crate) margin: f64,
}

impl Test {
    /// Two-sided p-value of no difference.
    fn p(&self) -> f64 {
        match self.value.abs() > 0.0 {
            true => self.noise.two_sided(self.value / self.error).unwrap_or(1.0),
            false => 1.0,
        }
    }

    /// `Better` or `Worse` where the corrected p-value is below 5 %. Else `Reproduced` where the 90 %
    /// interval of the difference lies within the margin: two one-sided tests of 5 % each (Schuirmann
    /// 1987). Else `Open`.
    fn verdict(&self, p_holm: f64) -> Verdict {
        let reach = self.noise.upper(ALPHA).map_or(f64::INFINITY, |t| t * self.error);
        match self.value {
            value if p_holm < ALPHA && value > 0.0 => Verdict::Better,
            _ if p_holm < ALPHA => Verdict::Worse,
            value if value.abs() + reach <= self.margin => Verdict::Reproduced,
            _ => Verdict::Open,
        }
    }
}

/// The verdicts of `tests`, which are looked at together, with p-values after Holm's correction.
pub(crate) fn verdicts(tests: &[Test]) -> Vec<(f64, Verdict)> {
    let corrected = holm(&tests.iter().map(Test::p).collect::<Vec<_>>());
    tests.iter().zip(corrected).map(|(test, p)| (p, test.verdict(p))).collect()
}

impl Verdict {
    /// The verdict in words, with a sign that needs no color.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Reproduced => "= reproduced",
            Self::Better => "\u{25b2} better",
            Self::Worse => "\u{25bc} worse",
            Self::Differs => "\u{2260} differs",
            Self::Open => "? cannot be told",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-9 * want.abs().max(1.0), "{got}, want {want}");
    }

    fn known(std: f64) -> Noise {
        Noise { std, df: None }
    }

    fn verdict(value: f64, error: f64, margin: f64) -> Verdict {
        verdicts(&[Test { value, error, noise: known(error), margin }])[0].1
    }

    #[test]
    fn what_is_not_different_must_rule_out_what_matters() {
        assert_eq!(
            verdict(0.0, 1.0, 1.7),
            Verdict::Reproduced,
            "1.645 errors of the 90 % interval"
        );
        assert_eq!(verdict(0.0, 1.0, 1.6), Verdict::Open);
        assert_eq!(verdict(1.9, 1.0, 1.7), Verdict::Open);
        assert_eq!(verdict(2.0, 1.0, 9.0), Verdict::Better, "1.96 errors of the 95 % interval");
        assert_eq!(verdict(-2.0, 1.0, 9.0), Verdict::Worse);
    }

    #[test]
    fn many_results_need_more() {
        let test = |value| Test { value, error: 1.0, noise: known(1.0), margin: 9.0 };
        let all = verdicts(&[test(2.1), test(0.1), test(-3.0)]);
        let told: Vec<Verdict> = all.iter().map(|(_, verdict)| *verdict).collect();
        // p-values of 0.0357, 0.92 and 0.0027: times 2, 1 and 3.
        assert_eq!(told, [Verdict::Reproduced, Verdict::Reproduced, Verdict::Worse]);
        assert!(
            (all[0].0 - 2.0 * 0.035_729).abs() < 1e-5 && (all[2].0 - 3.0 * 0.002_7).abs() < 1e-5
        );
    }

    /// Variances 1 and 4 of two and three values: (1 * 1 + 2 * 4) / 3 = 3.
    #[test]
    fn spreads_are_pooled_by_their_degrees_of_freedom() {
        let two = [0.0, 2f64.sqrt()];
        let three = [0.0, 2.0, 4.0];
        let pooled = Noise::pooled([&two[..], &three, &[5.0]].into_iter()).unwrap();
        assert_eq!(pooled.df, Some(3.0));
        close(pooled.std, 3f64.sqrt());
        assert!(Noise::pooled([&[5.0][..]].into_iter()).is_none(), "one seed");
        close(Noise::new(0.5, 100, Some(pooled)).std, pooled.std);
        close(Noise::new(0.5, 100, Some(known(0.01))).std, 0.05);
    }

    /// With one degree of freedom Student's distribution is Cauchy's, of which a quarter is above 1.
    #[test]
    fn few_seeds_have_long_tails() {
        let one = Noise { std: 1.0, df: Some(1.0) };
        close(one.two_sided(-1.0).unwrap(), 0.5);
        close(one.upper(0.25).unwrap(), 1.0);
        assert!((known(1.0).upper(0.05).unwrap() - 1.644_854).abs() < 1e-6);
        assert!((known(1.0).two_sided(1.959_964).unwrap() - 0.05).abs() < 1e-6);
    }

    /// One made-up table of ten cells, whose single trainings spread by 0.002; five seeds of ours, which differ
    /// by `shift` in the first cell.
    fn table(rng: &mut kd_core::rng::Rng, shift: f64) -> Vec<Verdict> {
        let std = 0.002;
        let papers: Vec<f64> = (0..10).map(|_| 0.97 + std * f64::from(rng.normal())).collect();
        let ours: Vec<[f64; 5]> =
            (0..10).map(|_| [(); 5].map(|()| 0.97 + std * f64::from(rng.normal()))).collect();
        let seeds = Noise::pooled(ours.iter().map(|values| &values[..]));
        let test = |(i, (paper, values)): (usize, (&f64, &[f64; 5]))| {
            let shift = if i == 0 { shift } else { 0.0 };
            let noise = Noise::new(0.97, 10_000, seeds);
            let value = values.iter().sum::<f64>() / 5.0 + shift - paper;
            Test { value, error: noise.std * 1.2f64.sqrt(), noise, margin: 0.005 }
        };
        let tests: Vec<Test> = papers.iter().zip(&ours).enumerate().map(test).collect();
        verdicts(&tests).into_iter().map(|(_, verdict)| verdict).collect()
    }

    /// Of 1000 tables that are true, at most 5 % may have any wrong verdict, less the error of 1000 draws; and the
    /// least detectable difference is detected in 80 %.
    #[test]
    fn verdicts_keep_their_promises() {
        let mut rng = kd_core::Stream::new(7).at("tables").rng();
        let is_told = |verdict: &Verdict| matches!(verdict, Verdict::Better | Verdict::Worse);
        let mut share = |shift: f64, looked_at: usize| {
            let told = |_: &i32| table(&mut rng, shift)[..looked_at].iter().any(is_told);
            (0..1000).filter(told).count() as f64 / 1000.0
        };
        assert!((0.02..0.07).contains(&share(0.0, 10)));
        let noise = Noise { std: 0.002, df: Some(40.0) };
        let reach = noise.upper(ALPHA / 20.0).unwrap() + noise.upper(0.2).unwrap();
        assert!((0.76..0.86).contains(&share(reach * 0.002 * 1.2f64.sqrt(), 1)));
    }
}
