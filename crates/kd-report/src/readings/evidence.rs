//! How far tables are from readings, and what follows from that.

use kd_core::Stream;

use super::data::{Data, products};

/// Tables that are drawn for the goodness of fit.
const N_DRAWS: usize = 2000;

/// How uncertain the numbers of one table are, which trainings with one seed made.
pub(super) struct Evidence {
    /// Standard deviation of each number.
    noise: Vec<f64>,
    /// Numbers of one training, by place, and what they have in common: they share batches, first weights and
    /// teacher.
    groups: Vec<(Vec<usize>, f64)>,
}

impl Evidence {
    /// The noise of the numbers of `data`, and the correlation over seeds of those of a training.
    pub(super) fn of(data: &Data) -> Self {
        let noise: Vec<f64> = data.numbers.iter().map(|number| number.noise).collect();
        let mut names: Vec<&str> = data.numbers.iter().map(|number| &*number.group).collect();
        names.dedup();
        let group = |name: &str| {
            let places: Vec<usize> =
                (0..data.numbers.len()).filter(|&i| data.numbers[i].group == name).collect();
            let correlation = correlation(data, &places, &noise);
            (places, correlation)
        };
        Self { groups: names.into_iter().map(group).collect(), noise }
    }

    /// The squared distance (Mahalanobis) of `table` from the mean of each reading over `n_seeds`. A table has the
    /// noise of one training, the mean that of `n_seeds`.
    pub(super) fn distances(&self, table: &[f64], means: &[Vec<f64>], n_seeds: usize) -> Vec<f64> {
        let both = (1.0 + 1.0 / n_seeds as f64).sqrt();
        let distance = |mean: &Vec<f64>| {
            let z: Vec<f64> =
                (0..table.len()).map(|i| (table[i] - mean[i]) / (both * self.noise[i])).collect();
            self.groups.iter().map(|(places, rho)| squared(&z, places, *rho)).sum()
        };
        means.iter().map(distance).collect()
    }

    /// Chance that a table made by the nearest reading is as far from all of them as the one at `distances`
    /// (a parametric bootstrap).
    pub(super) fn p(&self, distances: &[f64], means: &[Vec<f64>], n_seeds: usize) -> f64 {
        let Some(nearest) = (0..means.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b]))
        else {
            return 1.0;
        };
        let least = |distances: &[f64]| distances.iter().copied().fold(f64::INFINITY, f64::min);
        let seen = least(distances);
        let mut rng = Stream::new(0).at("readings").rng();
        let mut normal = || f64::from(rng.normal());
        let farther = |_: &usize| {
            let table = self.drawn(&means[nearest], n_seeds, &mut normal);
            least(&self.distances(&table, means, n_seeds)) >= seen
        };
        let n_farther = (0..N_DRAWS).filter(farther).count();
        (n_farther + 1) as f64 / (N_DRAWS + 1) as f64
    }

    /// A table about `mean`, with the noise of one training and of the mean.
    fn drawn(&self, mean: &[f64], n_seeds: usize, normal: &mut impl FnMut() -> f64) -> Vec<f64> {
        let both = (1.0 + 1.0 / n_seeds as f64).sqrt();
        let mut table = mean.to_vec();
        for (places, rho) in &self.groups {
            let common = normal();
            for &i in places {
                let z = rho.sqrt() * common + (1.0 - rho).sqrt() * normal();
                table[i] += both * self.noise[i] * z;
            }
        }
        table
    }
}

/// Probabilities from squared distances and the logarithms of other chances, where every reading was as likely
/// before and the noise is that of all: `exp(other - distance / 2)`, normalized.
pub(super) fn posterior(distances: &[f64], others: &[f64]) -> Vec<f64> {
    let both = distances.iter().zip(others).map(|(distance, other)| other - distance / 2.0);
    let logs: Vec<f64> = both.collect();
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.iter().map(|log| (log - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// `z' C^-1 z` for the numbers at `places`, whose correlation matrix `C` is 1 on the diagonal and `rho` elsewhere.
fn squared(z: &[f64], places: &[usize], rho: f64) -> f64 {
    let n = places.len() as f64;
    let sum: f64 = places.iter().map(|&i| z[i]).sum();
    let squares: f64 = places.iter().map(|&i| z[i] * z[i]).sum();
    (squares - rho * sum * sum / (1.0 + (n - 1.0) * rho)) / (1.0 - rho)
}

/// Mean correlation over seeds of the numbers at `places`, in units of `noise`, over all readings; none below 0.
fn correlation(data: &Data, places: &[usize], noise: &[f64]) -> f64 {
    let freedom = data.values.len() * (data.n_seeds - 1);
    let n_pairs = places.len() * places.len().saturating_sub(1) / 2;
    let mut sum = 0.0;
    for of in &data.values {
        for (k, &a) in places.iter().enumerate() {
            let others = places[..k].iter();
            sum += others.map(|&b| products(&of[a], &of[b]) / (noise[a] * noise[b])).sum::<f64>();
        }
    }
    let n = (freedom * n_pairs) as f64;
    if n > 0.0 { (sum / n).clamp(0.0, 0.95) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two numbers of correlation 0.5: the inverse is 4/3 on the diagonal and -2/3 elsewhere.
    #[test]
    fn distances_by_hand() {
        let z = [1.0, 9.0, 2.0];
        let got = squared(&z, &[0, 2], 0.5);
        assert!((got - (4.0 / 3.0 * (1.0 + 4.0) - 2.0 * 2.0 / 3.0 * 2.0)).abs() < 1e-12, "{got}");
        assert!((squared(&z, &[1], 0.0) - 81.0).abs() < 1e-12);
        let odds = 1f64.exp();
        let first = |others: [f64; 2]| posterior(&[2.0, 4.0], &others)[0];
        assert!((first([0.0, 0.0]) - odds / (1.0 + odds)).abs() < 1e-12);
        assert!((first([-2.0, -1.0]) - 0.5).abs() < 1e-12);
    }

    /// The squared distance of drawn tables from their own mean is chi-squared of 3 degrees of freedom: mean 3.
    #[test]
    fn drawn_tables_have_the_noise_that_is_assumed() {
        let evidence = Evidence {
            noise: vec![0.1, 0.2, 0.3],
            groups: vec![(vec![0, 1], 0.6), (vec![2], 0.0)],
        };
        let mean = vec![0.5, 0.6, 0.7];
        let mut rng = Stream::new(1).at("draws").rng();
        let mut normal = || f64::from(rng.normal());
        let mut sum = 0.0;
        for _ in 0..4000 {
            let table = evidence.drawn(&mean, 2, &mut normal);
            sum += evidence.distances(&table, std::slice::from_ref(&mean), 2)[0];
        }
        assert!((sum / 4000.0 - 3.0).abs() < 0.15, "{}", sum / 4000.0);
        assert!(evidence.p(&[0.0], std::slice::from_ref(&mean), 2) > 0.99);
        assert!(evidence.p(&[40.0], &[mean], 2) < 0.01);
    }
}
