//! Several methods with the same seeds: randomized blocks (Fisher 1935), of which each seed is one.
//!
//! Key decision: with three seeds, two methods alone hardly say how noisy their difference is. All methods together
//! do, since they are noisy for the same reason: what neither the method nor the seed explains has as many degrees of
//! freedom as there are methods and seeds beyond the first, `(M - 1) (S - 1)`.

use crate::paired::{ALPHA, Paired, student};

/// The noise of methods in blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Blocks {
    /// Standard deviation of a value beside the means of its method and of its seed.
    noise: f64,
    n_seeds: usize,
    /// Degrees of freedom of the noise.
    freedom: f64,
}

impl Blocks {
    /// Of the values of each method, in order of their seeds; nothing for fewer than two methods or seeds. `step` is
    /// the smallest difference that two values can have.
    pub(crate) fn of(values: &[&[f64]], step: f64) -> Option<Self> {
        let n_seeds = values.iter().map(|of| of.len()).min()?;
        if values.len() < 2 || n_seeds < 2 {
            return None;
        }
        let of_methods: Vec<f64> =
            values.iter().map(|of| mean(of[..n_seeds].iter().copied())).collect();
        let of_seed = |seed: usize| mean(values.iter().map(|of| of[seed]));
        let of_seeds: Vec<f64> = (0..n_seeds).map(of_seed).collect();
        let all = mean(of_seeds.iter().copied());
        let left = values.iter().zip(&of_methods).flat_map(|(of, of_method)| {
            of.iter().zip(&of_seeds).map(move |(x, of_seed)| x - of_method - of_seed + all)
        });
        let freedom = ((values.len() - 1) * (n_seeds - 1)) as f64;
        let noise = (left.map(|x| x * x).sum::<f64>() / freedom).sqrt();
        // Each value is rounded by up to half a step: a variance of step^2 / 12.
        Some(Self { noise: noise.max(step / 12f64.sqrt()), n_seeds, freedom })
    }

    /// `ours` minus `theirs`, two of the methods: the noise of their difference is `sqrt(2)` times that of a value.
    pub(crate) fn difference(&self, ours: &[f64], theirs: &[f64]) -> Option<Paired> {
        let differences = ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs);
        Paired::new(mean(differences), 2f64.sqrt() * self.noise, self.n_seeds, self.freedom)
    }

    /// The least difference that Holm's correction of `m` comparisons would certainly let stand.
    pub(crate) fn least_told(&self, m: usize) -> Option<f64> {
        let quantile = student(self.freedom, 1.0 - ALPHA / (2.0 * m.max(1) as f64))?;
        Some(quantile * self.noise * (2.0 / self.n_seeds as f64).sqrt())
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Methods have the means 2, 4 and 9, seeds -1 and 1 beside them, and what is left is 1, 0, -1 and the same with the
    /// other sign: 4 over two degrees of freedom, of which Student's distribution is `1/2 + t / (2 sqrt(2 + t^2))`.
    #[test]
    fn three_methods_and_two_seeds_by_hand() {
        let values: [&[f64]; 3] = [&[2.0, 2.0], &[3.0, 5.0], &[7.0, 11.0]];
        let blocks = Blocks::of(&values, 0.0).unwrap();
        assert_eq!((blocks.freedom, blocks.n_seeds), (2.0, 2));
        assert!((blocks.noise - 2f64.sqrt()).abs() < 1e-12, "{blocks:?}");
        let difference = blocks.difference(values[2], values[0]).unwrap();
        // Its standard error is sqrt(2) sqrt(2) / sqrt(2), t is 7 over that.
        let t = 7.0 / 2f64.sqrt();
        assert!((difference.mean - 7.0).abs() < 1e-12 && (difference.std - 2.0).abs() < 1e-12);
        assert!((difference.p - (1.0 - t / (2.0 + t * t).sqrt())).abs() < 1e-9, "{difference:?}");
        let quantile = (2.0 * 0.95f64.powi(2) / (1.0 - 0.95f64.powi(2))).sqrt();
        assert!((difference.half_width - quantile * 2f64.sqrt()).abs() < 1e-6, "{difference:?}");
        let least = blocks.least_told(1).unwrap();
        assert!((least - difference.half_width).abs() < 1e-9);
        assert!(blocks.least_told(2).unwrap() > least);
    }

    /// Two methods are a paired test.
    #[test]
    fn two_methods_are_pairs() {
        let (ours, theirs) = ([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]);
        let blocks = Blocks::of(&[&ours, &theirs], 0.0).unwrap();
        let (got, want) =
            (blocks.difference(&ours, &theirs).unwrap(), Paired::of(&ours, &theirs, 0.0).unwrap());
        let pairs = [(got.mean, want.mean), (got.std, want.std), (got.p, want.p)];
        for (got, want) in pairs {
            assert!((got - want).abs() < 1e-9, "{got}, want {want}");
        }
    }

    #[test]
    fn one_seed_or_method_is_none_and_rounding_is_noise() {
        assert!(Blocks::of(&[&[1.0], &[2.0]], 0.0).is_none());
        assert!(Blocks::of(&[&[1.0, 2.0]], 0.0).is_none() && Blocks::of(&[], 0.0).is_none());
        let same = Blocks::of(&[&[0.6, 0.7], &[0.59, 0.69]], 1e-4).unwrap();
        assert!((same.noise - 1e-4 / 12f64.sqrt()).abs() < 1e-12);
    }
}
